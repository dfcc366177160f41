"""Site: what a Laravel application has set, as far as a worker beside it must know."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from liteq.brokers.laravel.base import Cache, Ledger
from liteq.job import Change, Job
from liteq.laravel import naming
from liteq.laravel.encryption import Encrypter
from liteq.laravel.horizon import Horizon
from liteq.laravel.payload import Envelope

RETRY_AFTER = 90  # seconds; Laravel's default for `retry_after`


class Site(NamedTuple):
    """A Laravel application's settings. The same numbers as there, or the two would not agree."""

    laravel: int = naming.USUAL  # its version, as far as keys are named by it
    connection: str = "redis"  # Laravel's name of the queue connection
    queues: tuple[str, ...] = ("default",)  # that a worker reads if it is told no others
    default_queue: str = "default"  # of the connection: where a chain goes on that names none
    retry_after: int | None = RETRY_AFTER  # seconds; None: a reservation never runs out
    tries: int | None = None  # for jobs that do not say; 0: without limit; None: the task's own
    encrypter: Encrypter | None = None  # None: without APP_KEY
    cache: Cache | None = None  # for restart and pause signals, unique locks, counted exceptions
    ledger: Ledger | None = None  # for failed_jobs and batches
    horizon: Horizon | None = None


class Observer(Protocol):
    """Is told of each job; from the worker's thread, and quickly, as jobs wait meanwhile."""

    def taken(self, job: Job, envelope: Envelope | None) -> None:
        """A job is about to begin."""

    def settled(self, job: Job, envelope: Envelope | None, change: Change) -> None:
        """A run has ended, and what becomes of the job has been stored."""


class Router(Protocol):
    """Says which task runs a Laravel job, and with what."""

    def route(self, envelope: Envelope, body: str) -> "Route":
        """The task and its payload. Raises UnreadablePayload for what nobody can run."""


class Route(NamedTuple):
    """Where a job goes within the worker."""

    name: str  # of the task
    payload: str  # for the task's codec
    max_retries: int  # if neither the job nor the site says how often it may be tried
    unique_id: Callable[[Any], str] | None = None  # of a unique job's data: what its lock is about
