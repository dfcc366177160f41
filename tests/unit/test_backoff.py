"""The retry policy: how long to wait, and which errors deserve another attempt."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liteq.backoff import DEFAULT, RetryPolicy


def waits(policy: RetryPolicy, attempts: int = 6) -> list[float]:
    return [policy.wait(attempt) for attempt in range(1, attempts + 1)]


def test_default_wait_doubles_from_ten_seconds_to_five_minutes():
    assert waits(DEFAULT, 7) == [10, 20, 40, 80, 160, 300, 300]


def test_exponential_wait_grows_by_the_multiplier():
    assert waits(RetryPolicy(first=1, multiplier=3, cap=100)) == [1, 3, 9, 27, 81, 100]


def test_linear_wait_grows_by_the_first_wait():
    assert waits(RetryPolicy("linear", first=10, cap=45)) == [10, 20, 30, 40, 45, 45]


def test_fixed_wait_stays():
    assert waits(RetryPolicy("fixed", first=5)) == [5] * 6


def test_fixed_wait_is_capped_too():
    assert waits(RetryPolicy("fixed", first=5, cap=3), 2) == [3, 3]


def test_own_function_decides_within_reason():
    policy = RetryPolicy(lambda attempt: (attempt - 2) * 100, cap=150)

    assert waits(policy, 4) == [0, 0, 100, 150]


def test_own_function_of_no_number_is_an_error():
    with pytest.raises(ValueError, match="could not convert"):
        RetryPolicy(lambda attempt: "soon").wait(1)


def test_own_function_that_says_nan_waits_the_cap():
    policy = RetryPolicy(lambda attempt: math.nan, cap=30)

    assert policy.wait(1) == 30


def test_attempt_in_the_thousands_waits_the_cap():
    assert DEFAULT.wait(5000) == 300


@pytest.mark.parametrize("attempt", [0, -1])
def test_attempts_count_from_one(attempt):
    with pytest.raises(ValueError, match=f"attempts count from 1, not {attempt}"):
        DEFAULT.wait(attempt)


def test_jitter_takes_off_up_to_its_share():
    policy = RetryPolicy("fixed", first=100, jitter=0.3)

    assert [policy.wait(1, chance) for chance in (0, 0.5, 1)] == pytest.approx([100, 85, 70])


@given(
    strategy=st.sampled_from(["exponential", "linear", "fixed"]),
    first=st.floats(0, 1e6),
    cap=st.floats(0, 1e6),
    multiplier=st.floats(0.01, 1e3),
    jitter=st.floats(0, 1),
    attempt=st.integers(1, 10_000),
    chance=st.floats(0, 1),
)
def test_every_wait_is_between_nothing_and_the_cap(
    strategy, first, cap, multiplier, jitter, attempt, chance
):
    policy = RetryPolicy(strategy, first, cap, multiplier, jitter)

    assert 0 <= policy.wait(attempt, chance) <= cap


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"strategy": "quadratic"}, "retry strategy 'quadratic' is not known; use 'exponential'"),
        ({"first": -1}, "first=-1 and cap=300.0 must be 0 or more seconds"),
        ({"cap": -0.5}, "cap=-0.5 must be 0 or more"),
        ({"multiplier": 0}, "multiplier=0 more than 0"),
        ({"first": math.nan}, "first=nan"),
        ({"cap": math.nan}, "cap=nan"),
        ({"cap": math.inf}, "cap=inf"),
        ({"multiplier": math.nan}, "multiplier=nan"),
        ({"jitter": 1.1}, "jitter=1.1 must be a fraction from 0 to 1"),
        ({"jitter": -0.1}, "jitter=-0.1 must be a fraction from 0 to 1"),
        ({"only": OSError}, r"<class 'OSError'> is not a tuple of exceptions such as \(OSError,\)"),
        ({"only": [OSError]}, "is not a tuple of exceptions"),
        ({"never": ("OSError",)}, "is not a tuple of exceptions"),
        ({"never": (int,)}, "is not a tuple of exceptions"),
    ],
)
def test_policy_that_makes_no_sense_is_refused_where_it_is_written(given, message):
    with pytest.raises(ValueError, match=message):
        RetryPolicy(**given)


def test_errors_are_retried_by_default_and_exits_are_not():
    assert DEFAULT.deserves(ValueError())
    assert not DEFAULT.deserves(SystemExit())
    assert not DEFAULT.deserves(KeyboardInterrupt())


def test_only_named_errors_are_retried():
    policy = RetryPolicy(only=(OSError,))

    assert policy.deserves(ConnectionError())
    assert not policy.deserves(ValueError())


def test_never_wins_over_only():
    policy = RetryPolicy(only=(OSError,), never=(FileNotFoundError,))

    assert policy.deserves(ConnectionError())
    assert not policy.deserves(FileNotFoundError())
