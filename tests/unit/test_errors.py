"""The error tree, and the two errors that a task raises on purpose."""

import pickle
import re

import pytest

from liteq import errors
from liteq.errors import Cancel, LiteqError, Retry

ALL = [kind for kind in vars(errors).values() if isinstance(kind, type)]


def drawn() -> dict[str, tuple[str, str]]:
    """Name → (parent, builtin parent), as the docstring draws them."""
    found: dict[str, tuple[str, str]] = {"LiteqError": ("Exception", "")}
    above = ["LiteqError"]
    for line in errors.__doc__.splitlines():
        if match := re.match(r"([│ ]*)[├└]── (\w+)(?: \((\w+)\))?  ", line):
            depth = len(match[1]) // 4 + 1
            above[depth:] = [match[2]]
            found[match[2]] = (above[depth - 1], match[3] or "")
    return found


def test_docstring_draws_the_tree_as_it_is():
    as_it_is = {
        kind.__name__: (kind.__bases__[0].__name__, "".join(k.__name__ for k in kind.__bases__[1:]))
        for kind in ALL
    }

    assert drawn() == as_it_is


@pytest.mark.parametrize("kind", ALL)
def test_every_error_is_a_liteq_error_with_an_explanation(kind):
    assert issubclass(kind, LiteqError)
    assert kind.__doc__


@pytest.mark.parametrize("kind", ALL)
def test_every_error_survives_the_way_between_processes(kind):
    error = pickle.loads(pickle.dumps(kind("no space left")))

    assert type(error) is kind
    assert str(error) == "no space left"


def test_retry_says_when():
    assert Retry().after is None
    assert Retry(after=5).after == 5
    assert Retry("busy", after=0).after == 0
    assert str(Retry("busy")) == "busy"
    assert str(Retry()) == "the task asked for a retry"


def test_retry_keeps_its_time_between_processes():
    assert pickle.loads(pickle.dumps(Retry("busy", after=5))).after == 5


@pytest.mark.parametrize("after", [-1, -0.001, float("nan"), float("inf")])
def test_retry_at_no_time_is_refused(after):
    with pytest.raises(ValueError, match=r"Retry\(after=.*give seconds, 0 or more"):
        Retry(after=after)


def test_cancel_says_why():
    assert str(Cancel()) == "the task cancelled itself"
    assert str(Cancel("no such user")) == "no such user"
