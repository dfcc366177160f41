"""Config: every setting, documented once, in `Settings`. Read when used, never at import.

A value comes from the argument, else from the URL's query, else from the environment
(`LITEQ_` and the field's name in capitals), else from the default written here.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

DEFAULT_DB = "liteq.db"
_KINDS = {int: "whole number", float: "number"}


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of a process. Durations in seconds, sizes in the unit that the name says."""

    synchronous: str = "NORMAL"
    """SQLite's `synchronous`: NORMAL survives kill -9 of everything, FULL also power loss."""

    payload_limit: int = 1024 * 1024
    """Most bytes of encoded arguments, and of an encoded result."""

    lease: float = 30.0
    """How long a worker may be silent before its jobs are taken over; renewed each third of it."""

    shutdown_grace: float = 30.0
    """How long a stopping worker lets running jobs go on before it hands them back."""

    timeout_grace: float = 0.3
    """How long a run that was told to stop may clean up before its process is killed."""

    async_limit: int = 10
    """How many `async def` jobs run at once in each pool process."""

    max_jobs: int = 0
    """A pool process is replaced after this many jobs; 0: never."""

    max_memory_mb: int = 0
    """A pool process that is larger than this after a job is replaced; 0: never."""

    memory_limit_mb: int = 0
    """A job that takes its pool process past this fails with MemoryError; 0: no limit."""

    keep_done: float = 7 * 86400.0
    """How long `done` jobs are kept; 0: for ever."""

    keep_failed: float = 0.0
    """How long `failed` and `cancelled` jobs are kept; 0: for ever."""

    start_method: str = "auto"
    """How pool processes start: "fork" (Linux' default here), "spawn" (elsewhere), or "auto"."""

    def __post_init__(self) -> None:
        """Refuse values that could only fail later; the message names the setting."""
        if self.synchronous.upper() not in ("NORMAL", "FULL", "EXTRA"):
            raise ValueError(f"synchronous={self.synchronous!r}: use NORMAL, FULL or EXTRA")
        if self.start_method not in ("auto", "fork", "spawn"):
            raise ValueError(f"start_method={self.start_method!r}: use auto, fork or spawn")
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, str) and not value >= 0:  # so nan is refused
                raise ValueError(f"{field.name}={value!r} must not be negative")
        if self.lease < 1 or self.async_limit < 1 or self.payload_limit < 1:
            raise ValueError(
                f"lease={self.lease!r}, async_limit={self.async_limit!r} and "
                f"payload_limit={self.payload_limit!r} must each be at least 1"
            )


def settings(query: Mapping[str, str] | None = None, **given: Any) -> Settings:
    """The settings in force now. `query` is what the broker's URL says after its `?`.

    Arguments that are None and variables that are empty count as not given. Raises ValueError
    naming the setting, its value and where that came from; TypeError for an argument that is no
    setting. What the URL says beyond the settings is for the broker.
    """
    values: dict[str, Any] = {}
    for name in given.keys() - Settings.__slots__:
        raise TypeError(f"no setting is named {name!r}; there are {', '.join(Settings.__slots__)}")
    for field in fields(Settings):
        variable = f"LITEQ_{field.name.upper()}"
        if given.get(field.name) is not None:
            values[field.name] = given[field.name]
        elif query and field.name in query:
            values[field.name] = _parsed(field, query[field.name], "the URL")
        elif os.environ.get(variable):
            values[field.name] = _parsed(field, os.environ[variable], variable)
    return Settings(**values)


def broker_url() -> str:
    """Where the jobs are: LITEQ_URL, else `sqlite:///` and the path in LITEQ_DB, else liteq.db."""
    url = os.environ.get("LITEQ_URL")
    if url:
        return url
    path = os.environ.get("LITEQ_DB") or DEFAULT_DB
    return "sqlite:///" + path.replace("%", "%25").replace("?", "%3F").replace("#", "%23")


def _parsed(field: Any, text: str, source: str) -> Any:
    kind = type(field.default)
    try:
        return kind(text)
    except ValueError:
        raise ValueError(
            f"{field.name}={text!r} (from {source}) is not a {_KINDS[kind]}; remove it for the "
            f"default, {field.default!r}"
        ) from None
