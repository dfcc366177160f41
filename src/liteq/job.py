"""Nouns: what travels between the rooms. No behaviour here; the rules are in `lifecycle`.

They are named tuples, not dataclasses: a worker makes several for every job it runs, and a named
tuple is built in 0.3 µs straight from a row, a frozen dataclass in 3 µs (measured, Python 3.11).
Times are seconds since the epoch, UTC, as float, unless a field says otherwise.
"""

from collections.abc import Collection
from typing import Literal, NamedTuple

Status = Literal["pending", "running", "done", "failed", "cancelled"]
STATUSES: tuple[Status, ...] = ("pending", "running", "done", "failed", "cancelled")

UNLIMITED = 2**31 - 1  # max_retries of a job that may be tried without end

# How one run ended, as its pool saw it. "released" is one that never began (no `started`), or was
# stopped through no fault of its own.
Ending = Literal["done", "failed", "retry", "cancelled", "timeout", "lost", "released"]


class NewJob(NamedTuple):
    """One call of a task, not stored yet."""

    name: str
    payload: str  # JSON object {"args": [...], "kwargs": {...}}
    queue: str = "default"
    priority: int = 0  # higher first
    max_retries: int = 3  # so at most max_retries + 1 runs
    timeout: float | None = None  # seconds; None: the worker's own limit, if any
    due: float | None = None  # None: at once
    at_most_once: bool = False  # a run that is lost is not run again


class Terms(NamedTuple):
    """What a job brings along that its task does not know; only Laravel's jobs have them."""

    waits: tuple[float, ...] = ()  # seconds after each failed run; the last for all that follow
    retry_until: float | None = None  # until then runs are not counted, after it none begins
    max_exceptions: int | None = None  # this many failed runs are the end, whatever is left
    exceptions: int = 0  # failed runs so far
    fail_on_timeout: bool = False
    fault: str | None = None  # why it can never be run
    label: str | None = None  # what people know it by, beside its number


class Job(NamedTuple):
    """One run of a job, held under a lease that `receipt` proves."""

    id: int
    name: str
    payload: str
    queue: str
    priority: int
    attempt: int  # this run's number, from 1
    max_retries: int
    timeout: float | None
    receipt: str  # opaque, unique for each claim, ASCII, at most 56 bytes
    losses: int  # earlier runs that ended because their process or worker died
    at_most_once: bool
    terms: Terms | None = None


class Outcome(NamedTuple):
    """How one run ended, as the pool that ran it saw it."""

    receipt: str
    ending: Ending
    started: float = 0.0
    ended: float = 0.0
    result: str | None = None  # JSON text, when done
    error: str | None = None  # one line: "ValueError: no such user"
    traceback: str | None = None
    after: float | None = None  # seconds until the next attempt, where the task itself said so
    final: bool = False  # the retry policy says that this error is not to be retried


class Attempt(NamedTuple):
    """A run that did not end well, for the record; good runs are told by the job itself."""

    attempt: int
    ending: Ending
    started: float
    ended: float
    error: str | None
    traceback: str | None


class Change(NamedTuple):
    """What a job becomes; takes effect only while `receipt` still holds."""

    id: int
    receipt: str
    status: Status
    attempts: int
    losses: int
    due: float | None = None  # when pending again; None: at once, at its old place
    result: str | None = None
    error: str | None = None
    started: float | None = None
    ended: float | None = None  # set when the job has ended for good
    record: Attempt | None = None


class Verdict(NamedTuple):
    """What a heartbeat brings back, as receipts."""

    lost: Collection[str]  # no longer ours: stop them, their results will be refused
    cancelled: Collection[str]  # ours, but somebody wants them stopped


class WorkerInfo(NamedTuple):
    """A worker as other processes see it."""

    worker_id: str
    hostname: str
    queues: tuple[str, ...]
    concurrency: int
    pid: int
    machine: str  # boot and process namespace: pids may be compared only where this is equal
    born: str  # start time of the process on its machine, so that a reused pid is told apart
    started: float
    heartbeat: float = 0.0
    active: int = 0  # jobs it is running
    expired: bool = False  # its lease has run out, by the store's own clock


class JobRecord(NamedTuple):
    """Everything that is stored of one job. Times are ISO-8601 UTC text, as stored."""

    id: int
    name: str
    payload: str
    queue: str
    status: str
    priority: int
    attempts: int
    max_retries: int
    worker_id: str | None
    run_at: str | None
    created_at: str | None
    started_at: str | None
    finished_at: str | None
    result: str | None  # JSON text
    error: str | None
    timeout: float | None


class AttemptRecord(NamedTuple):
    """Everything that is stored of one attempt that did not end well."""

    attempt: int
    ending: str
    worker_id: str | None
    started_at: str
    finished_at: str
    error: str | None
    traceback: str | None


class Filter(NamedTuple):
    """Which jobs are meant: all conditions that are given must hold; none given: every job."""

    ids: tuple[int, ...] | None = None
    queue: str | None = None
    status: str | None = None
    name: str | None = None
    text: str | None = None  # occurs in name, payload or error; upper and lower case are one
    worker: str | None = None
    before: int | None = None  # ids below this one (for paging, newest first)
