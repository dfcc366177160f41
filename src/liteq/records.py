"""Records: what is stored of a job, as the plain dicts that the public functions return."""

import json
from typing import Any

from liteq import times
from liteq.job import JobRecord


def as_dict(record: JobRecord) -> dict[str, Any]:
    """The job's columns by name, with `result` decoded from its JSON.

    A result that is no JSON (written by another program) stays text.
    """
    columns = record._asdict()
    columns["result"] = _decoded(record.result)
    return columns


def instant(text: str | None, otherwise: float) -> float:
    """The stored time in seconds; `otherwise` where there is none, or none that can be read."""
    try:
        return otherwise if text is None else times.instant(text)
    except ValueError:
        return otherwise


def _decoded(result: str | None) -> Any:
    if result is None:
        return None
    try:
        return json.loads(result)
    except ValueError:
        return result
