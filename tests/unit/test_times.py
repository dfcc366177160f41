"""Promises of `liteq.times`: one sortable text form, and what a user's time means."""

import math
import time
from datetime import date, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from liteq.times import instant, moment, stamp

NOON = datetime(2026, 1, 31, 12, tzinfo=timezone.utc).timestamp()
SECONDS = st.floats(-62135596800, 253402300798)


@pytest.fixture
def tokyo(monkeypatch):
    """A local time that is not UTC."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_stamp_is_utc_to_the_microsecond():
    assert stamp(NOON + 0.123456) == "2026-01-31T12:00:00.123456Z"


def test_stamp_of_a_whole_second_has_its_zeros():
    assert stamp(NOON) == "2026-01-31T12:00:00.000000Z"
    assert stamp(0) == "1970-01-01T00:00:00.000000Z"


def test_stamp_rounds_up_into_the_next_second():
    assert stamp(NOON + 0.9999999) == "2026-01-31T12:00:01.000000Z"


def test_stamp_knows_times_before_1970():
    assert stamp(-0.25) == "1969-12-31T23:59:59.750000Z"


def test_stamp_stays_right_over_many_seconds():
    texts = [stamp(NOON + second) for second in range(3000)]

    assert texts[2999] == "2026-01-31T12:49:59.000000Z"
    assert len(set(texts)) == 3000


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -math.inf, 1e12, -1e12])
def test_stamp_refuses_what_no_calendar_has(seconds):
    with pytest.raises(ValueError, match="years 1 to 9999"):
        stamp(seconds)


@given(st.floats(-5e9, 7e9))
@example(5702604577.988747)
@example(1.9999996)
def test_stamp_and_instant_are_inverse_to_the_microsecond(seconds):
    text = stamp(seconds)

    assert abs(instant(text) - seconds) <= 1e-6
    assert stamp(instant(text)) == text


@given(st.integers(1, 253402300798), st.floats(0, 0.999999), st.floats(0, 0.999999))
def test_text_within_a_second_sorts_as_time_does(second, one, other):
    earlier, later = sorted([second + one, second + other])
    first = stamp(later)  # when nothing is known of this second, and when it is

    assert stamp(earlier) <= first == stamp(later)


@given(SECONDS, SECONDS)
def test_text_sorts_as_time_does(one, other):
    if one <= other:
        assert stamp(one) <= stamp(other)
    else:
        assert stamp(one) >= stamp(other)


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31T12:00:00Z",
        "2026-01-31t12:00:00z",
        "2026-01-31T12:00:00.000000Z",
        "2026-01-31 12:00:00",
        "2026-01-31T12:00",
        "2026-01-31 14:00+02:00",
        "2026-01-31T14:00:00+0200",
        "2026-01-31T14:00:00.0+02",
        "2026-01-31T12:00:00,000000000",
        " 2026-01-31T12:00:00 Z ",
    ],
)
def test_instant_reads_iso_text_and_takes_utc_where_none_is_said(tokyo, text):
    assert instant(text) == NOON


def test_a_day_alone_means_its_first_moment():
    assert instant("2026-01-31") == NOON - 12 * 3600


def test_a_short_fraction_is_read_as_one():
    assert instant("2026-01-31T12:00:00.5Z") == NOON + 0.5


@pytest.mark.parametrize(
    "text", ["", "tomorrow", "2026-13-01", "2026-01-31T25:00", "2026-01-31T12:00:00.Z", "12:00"]
)
def test_text_that_is_no_time_is_refused_by_name(text):
    with pytest.raises(ValueError, match="is no time") as caught:
        instant(text)

    assert repr(text) in str(caught.value)
    with pytest.raises(ValueError, match="is no time"):
        moment(text, NOON)


def test_a_naive_datetime_of_a_user_is_local_time(tokyo):
    assert moment(datetime(2026, 1, 31, 21), 0) == NOON  # noqa: DTZ001 -- the point


def test_naive_text_of_a_user_is_local_time(tokyo):
    assert moment("2026-01-31T21:00:00", 0) == NOON


def test_an_aware_datetime_is_honoured(tokyo):
    oslo = timezone(timedelta(hours=1))

    assert moment(datetime(2026, 1, 31, 13, tzinfo=oslo), 0) == NOON


def test_aware_text_is_honoured(tokyo):
    assert moment("2026-01-31T12:00:00Z", 0) == NOON


def test_a_timedelta_counts_from_now():
    assert moment(timedelta(minutes=-1), NOON) == NOON - 60


@pytest.mark.parametrize("value", [None, 5, 2.5, date(2026, 1, 31)])
def test_what_is_no_time_at_all_is_refused_by_name(value):
    with pytest.raises(ValueError, match="give a datetime") as caught:
        moment(value, NOON)

    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        timedelta.max,
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-12))),
        datetime.min,  # noqa: DTZ901 -- users do that
        datetime.min.replace(tzinfo=timezone(timedelta(hours=12))),
    ],
)
def test_a_moment_beyond_the_calendar_is_refused_by_name(tokyo, value):
    with pytest.raises(ValueError, match="years 1 to 9999") as caught:
        moment(value, NOON)

    assert repr(value) in str(caught.value)
