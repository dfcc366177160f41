"""What a broker is: the verbs that every store must have, and nothing of how it does them.

A broker decides nothing. It stores jobs, leases them in batches, and applies `Change` records only
where the receipt still holds. Each hot verb takes a batch and is one atomic step. Leases run by
the store's own clock, so the verbs take durations, never deadlines.
"""

import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol, TypeVar

from liteq.job import (
    AttemptRecord,
    Change,
    Filter,
    Job,
    JobRecord,
    NewJob,
    Verdict,
    WorkerInfo,
)

Returned = TypeVar("Returned")


class Clock:
    """What time it is; a broker has one, and tests give it another."""

    def wall(self) -> float:
        """Seconds since the epoch: says which delayed jobs are due."""
        return time.time()

    def steady(self) -> float:
        """Seconds that never jump, equal in all processes of a machine: says which leases hold."""
        return time.monotonic()


class Listener(Protocol):
    """Tells a resting worker that there may be work. Hints only: they may be early, or missing."""

    def fileno(self) -> int:
        """A descriptor that becomes readable when a sleeping worker is wanted."""

    def arm(self) -> None:
        """From now on ring me; called before the last look at the queue, so that none is missed."""

    def disarm(self) -> None:
        """I am awake and look by myself; forget the rings that came."""

    def stirred(self) -> bool:
        """Whether others may have changed the store since the last call; cheap, for a slow poll."""

    def close(self) -> None:
        """Leave; nobody rings any more."""


class Broker(Protocol):
    """The hot path. Raises BrokerError and its kinds, never a driver's own errors."""

    url: str
    clock: Clock
    payload_limit: int  # bytes, for encoded arguments and results
    lease: float | None  # seconds; a store whose leases are set elsewhere. None: the worker's own
    # What not every broker can: "share" (other processes see the jobs), "ahead" (a claim costs a
    # job nothing until it begins, so that some may be claimed before there is a slot for them),
    # "records" (jobs and workers are on record, and can be asked for and acted upon one by one).
    supports: frozenset[str]
    queues: tuple[str, ...]  # that a worker reads if it is told none; (): those of its tasks

    def enqueue(self, jobs: Sequence[NewJob]) -> list[int]:
        """Store the jobs, all or none; their ids, in order."""

    def claim(
        self,
        worker: str,
        queues: Sequence[str],
        limit: int,
        lease: float,
        skip: Collection[str] = (),
    ) -> list[Job]:
        """Lease up to `limit` due jobs to `worker` for `lease` seconds, and count an attempt each.

        Highest priority over all the queues first, then oldest due. Paused queues give nothing.
        Jobs of the task names in `skip` are passed over; a broker need not look further than the
        first thousand jobs of a queue for others.
        """

    def beat(self, worker: WorkerInfo, receipts: Collection[str], lease: float) -> Verdict:
        """Say that the worker lives, and renew its lease on all that it holds.

        `receipts` are the runs it knows of: what the store thinks it holds beyond them (a claim
        whose answer was lost) goes back to the queue unharmed.
        """

    def cancellations(self, worker: str) -> list[str]:
        """Receipts of this worker's runs that somebody wants stopped."""

    def dismissed(self, worker: str) -> str | None:
        """Why this worker is to stop, if somebody wants that; cheap, asked twice a second."""

    def finish(self, changes: Sequence[Change], room: int = 0) -> set[int]:
        """Apply the changes whose receipt still holds; the ids of those jobs.

        `room`: for how many jobs the worker will call `claim` right after, without `skip`. A broker
        far away may look for them in the same round trip.
        """

    def due_in(self, queues: Sequence[str]) -> float | None:
        """Seconds until the next delayed job of these queues is due; None: there is none."""

    def listen(self, queues: Sequence[str]) -> Listener:
        """Start to listen for work on these queues."""

    def close(self) -> None:
        """Let go of connections. The next verb opens them again."""


class Reader(Protocol):
    """Questions, for status, dashboards and the CLI."""

    def get(self, id: int) -> JobRecord | None:
        """One job, or None."""

    def attempts(self, id: int) -> list[AttemptRecord]:
        """The attempts of a job that did not end well, oldest first."""

    def find(self, which: Filter, limit: int) -> list[JobRecord]:
        """Jobs that match, newest first."""

    def count(self) -> list[tuple[str, str, int]]:
        """(queue, status, how many), sorted."""

    def oldest_due(self) -> dict[str, float]:
        """Per queue with due jobs: how many seconds its oldest one has waited."""

    def workers(self) -> list[WorkerInfo]:
        """The workers on record, and those only known from jobs they hold (as expired)."""

    def held(self, worker: str) -> list[Job]:
        """The jobs that are running under this worker's lease."""


class Operator(Protocol):
    """Actions of people. Each is in batches, so that workers and producers get their turn."""

    def cancel(self, which: Filter) -> int:
        """Cancel pending jobs at once and ask for running ones to be stopped; how many."""

    def revive(self, which: Filter) -> int:
        """Send failed and cancelled jobs round again with all their attempts; how many."""

    def purge(self, which: Filter) -> int:
        """Delete jobs that are not running; how many."""

    def prune(self, statuses: Collection[str], age: float, limit: int) -> int:
        """Delete up to `limit` jobs that ended in one of `statuses` over `age` seconds ago."""

    def pause(self, queue: str) -> None:
        """Let workers claim nothing more from this queue."""

    def resume(self, queue: str) -> None:
        """Let workers claim from this queue again."""

    def paused(self) -> dict[str, str]:
        """Paused queues and since when (ISO-8601 UTC text)."""

    def forget(self, worker: str) -> None:
        """Strike a worker off the record; what it still holds counts as lost."""


class Store(Broker, Reader, Operator, Protocol):
    """A broker with all its faces, as SQLite, memory, Redis and PostgreSQL have them."""


class Awaiting:
    """The awaiting face of any broker: `await Awaiting(broker).call(broker.enqueue, jobs)`.

    The verbs run one after the other on a thread of their own, so the event loop never blocks.
    """

    def __init__(self) -> None:
        """Make the face; its thread starts with the first call."""
        from concurrent.futures import ThreadPoolExecutor  # 15 ms, only for those who await

        self._thread = ThreadPoolExecutor(1, thread_name_prefix="liteq-await")

    async def call(self, verb: Callable[..., Returned], *arguments: Any) -> Returned:
        """What the verb returns or raises."""
        import asyncio

        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, verb, *arguments)
