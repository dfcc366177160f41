"""Findings: what a check-up has found. The checks themselves are with what they look at."""

from typing import Literal, NamedTuple

Level = Literal["ok", "warn", "fault"]


class Finding(NamedTuple):
    """One answer of a check-up. A fault keeps jobs from running; a warning may, or soon will."""

    level: Level
    title: str
    detail: str
    remedy: str | None = None  # what to do; None where there is nothing to do


def ok(title: str, detail: str) -> Finding:
    """All is well here."""
    return Finding("ok", title, detail)


def warn(title: str, detail: str, remedy: str | None = None) -> Finding:
    """Jobs run, but somebody should look at this."""
    return Finding("warn", title, detail, remedy)


def fault(title: str, detail: str, remedy: str | None = None) -> Finding:
    """This keeps jobs from running, or has made them fail."""
    return Finding("fault", title, detail, remedy)
