import io
import json
import logging
import sys

import pytest

from liteq import logs, times


@pytest.fixture
def stderr(monkeypatch):
    """A function that prepares bare loggers; pytest puts its own handlers in for each phase."""
    liteq, root = logging.getLogger("liteq"), logging.getLogger()
    before = liteq.handlers, liteq.propagate, liteq.level, root.handlers, root.level

    def prepare():
        stream = io.StringIO()
        monkeypatch.setattr(sys, "stderr", stream)
        root.handlers = []
        return stream

    yield prepare
    liteq.handlers, liteq.propagate, liteq.level, root.handlers, root.level = before


def test_text_has_time_level_and_message(stderr):
    stream = stderr()
    logs.configure("text", "info")

    logging.getLogger("liteq.worker").info("job %d done", 7)
    logging.getLogger("liteq.worker").debug("not shown")

    [line] = stream.getvalue().splitlines()
    day, clock, level, message = line.split(maxsplit=3)
    assert (len(day), len(clock), level, message) == (10, 12, "INFO", "job 7 done")


def test_json_has_one_object_a_line_with_the_extra_fields(stderr):
    stream = stderr()
    logs.configure("json", "info")

    logging.getLogger("liteq.worker").warning("job %d\nfailed", 7, extra={"job": 7, "task": "ю"})

    [line] = stream.getvalue().splitlines()
    record = json.loads(line)
    assert times.instant(record.pop("ts")) > 0
    assert record == {
        "level": "warning",
        "logger": "liteq.worker",
        "message": "job 7\nfailed",
        "job": 7,
        "task": "ю",
    }


def test_json_carries_a_traceback_and_what_json_cannot_say(stderr):
    stream = stderr()
    logs.configure("json", "info")

    try:
        int("boom")
    except ValueError:
        logging.getLogger("liteq").exception("oh", extra={"path": sys})

    record = json.loads(stream.getvalue())
    assert record["traceback"].endswith("'boom'")
    assert record["path"].startswith("<module 'sys'")


def test_other_loggers_of_the_app_are_shown_once_too(stderr):
    stream = stderr()
    logs.configure("text", "info")

    logging.getLogger("shop").info("hello")
    logging.getLogger("liteq").info("world")

    assert [line.rsplit(maxsplit=1)[1] for line in stream.getvalue().splitlines()] == [
        "hello",
        "world",
    ]


def test_an_app_keeps_its_own_logging(stderr):
    stream = stderr()
    own = io.StringIO()
    logging.getLogger().handlers = [logging.StreamHandler(own)]

    logs.configure("text", "info")
    logging.getLogger("shop").warning("hello")
    logging.getLogger("liteq").info("world")

    assert own.getvalue() == "hello\n"
    assert "world" in stream.getvalue()
    assert "hello" not in stream.getvalue()
