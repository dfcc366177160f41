"""Logs: how the worker's log looks, one line per event, as text or as JSON.

Only the command line configures logging; LiteQ as a library never does.
"""

import json
import logging
import sys
from typing import Literal

from liteq import times

LogFormat = Literal["text", "json"]

# What every record has; all else in it came by `extra={...}` and goes into the JSON.
_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """One JSON object per line: ts, level, logger, message, and the `extra` fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON; what JSON cannot say is given as text."""
        line: dict[str, object] = {
            "ts": times.stamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update((key, value) for key, value in vars(record).items() if key not in _USUAL)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def configure(format: LogFormat, level: str) -> None:
    """Send the logs to stderr, in this format, from this level on.

    An app that has set up logging of its own keeps it for its own loggers.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(format))
    liteq = logging.getLogger("liteq")
    liteq.handlers = [handler]
    liteq.propagate = False  # or an app's own handler would say everything twice
    liteq.setLevel(level.upper())
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(handler)
        root.setLevel(level.upper())


def _formatter(format: LogFormat) -> logging.Formatter:
    if format == "json":
        return JsonFormatter()
    return logging.Formatter("%(asctime)s %(levelname)-7s %(message)s")
