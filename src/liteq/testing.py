"""Testing: run jobs in the test's own process, without a worker, at any moment you like.

    from liteq.testing import inline, run_due, travel

    def test_welcome(liteq_db):                     # a private database, from the pytest plugin
        sign_up("ann@example.com")                  # calls welcome.delay(...)

        [ran] = run_due()
        assert ran.name == "welcome"
        assert ran.status == "done"

    def test_reminder(liteq_db):
        reminder.schedule(timedelta(hours=1), "tea")

        assert run_due() == []
        assert run_due(timedelta(hours=1))[0].result == "tea"

Jobs take the way they take in a worker: claimed from the broker, arguments decoded, run, settled
by the same rules, result stored. Only time limits are not enforced, since nobody stands beside.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar

from liteq import backoff, brokers, core, lifecycle, registry, times
from liteq.brokers.base import Clock, Store
from liteq.core import JobId
from liteq.job import Ending, Job, NewJob, Outcome
from liteq.pools import base as pools

__all__ = ["Ran", "inline", "run_due", "travel"]

_WORKER = "liteq.testing"
_LEASE = 3600.0  # nobody renews it; a test that runs longer has other worries
_EVERY = 1_000_000  # jobs a claim
Returned = TypeVar("Returned")


class Ran(NamedTuple):
    """One run of one job, and what became of the job."""

    id: JobId
    name: str  # of the task
    queue: str
    attempt: int  # this run's number, from 1
    ending: Ending  # how the run ended: done, failed, retry, cancelled, timeout
    status: str  # the job's status now; "pending" if it is to be retried
    result: Any  # what the task returned, as `.result()` would tell it
    error: str | None
    traceback: str | None
    run_at: str | None  # when it is retried, ISO-8601 UTC


def run_due(
    now: datetime | timedelta | str | None = None,
    queues: Collection[str] | None = None,
    url: str | None = None,
    limit: int | None = None,
    *,
    retries: bool = False,
) -> list[Ran]:
    """Run here what is due, each job once, best first; the runs, in order.

    `now` is the moment to do it at, told as in `.schedule` (a timedelta: from the present).
    Without `queues`, of all queues; paused ones stay paused. With `retries`, go on until nothing
    is due at that moment: jobs that the tasks queue, and retries whose wait is over by then (waits
    start at `now`, so the next retry wants a later call). At most `limit` runs.
    """
    broker = _broker(url)
    ran: list[Ran] = []
    with _at(broker, now):
        while room := _EVERY if limit is None else limit - len(ran):
            jobs = broker.claim(_WORKER, _queues(broker, queues), room, _LEASE)
            ran += _run_all(broker, jobs)
            if not jobs or not retries:
                break
    broker.forget(_WORKER)
    return ran


@contextlib.contextmanager
def inline(url: str | None = None) -> Iterator[None]:
    """Within it, whoever queues a job runs it: when `.delay()` returns, the first run is over.

    Delayed jobs, jobs of paused queues and retries wait for `run_due`, as do jobs that were queued
    inside a transaction of the caller's own. What a task raises is found in its job, not raised.
    """
    broker = _broker(url)
    before, enqueue = vars(broker).get("enqueue"), broker.enqueue

    def enqueue_and_run(jobs: Sequence[NewJob]) -> list[int]:
        ids = enqueue(jobs)
        _run_all(broker, _claimed(broker, set(ids), {job.queue for job in jobs}))
        return ids

    # Shadows the method of this one object: the name of the broker's verb is all that core knows.
    vars(broker)["enqueue"] = enqueue_and_run
    try:
        yield
    finally:
        del vars(broker)["enqueue"]
        if before is not None:
            vars(broker)["enqueue"] = before
        broker.forget(_WORKER)


@contextlib.contextmanager
def travel(to: float | timedelta | datetime | str, url: str | None = None) -> Iterator[None]:
    """Within it, the broker's clock tells another time: so many seconds on, or from that moment.

    It goes on from there. Moves what is due, what is stored as a time, and how old finished jobs
    are; leases run by another clock. The time that `datetime.now()` tells stays.
    """
    if isinstance(to, (int, float)):
        to = timedelta(seconds=to)
    with _at(_broker(url), to):
        yield


class _Shifted(Clock):
    """A clock that goes as another does, so many seconds ahead."""

    def __init__(self, clock: Clock, seconds: float):
        self._clock = clock
        self._seconds = seconds

    def wall(self) -> float:
        """Seconds since the epoch."""
        return self._clock.wall() + self._seconds

    def steady(self) -> float:
        """Seconds that never jump."""
        return self._clock.steady()


@contextlib.contextmanager
def _at(broker: Store, moment: datetime | timedelta | str | None) -> Iterator[None]:
    clock = broker.clock
    if moment is not None:
        now = clock.wall()
        broker.clock = _Shifted(clock, times.moment(moment, now) - now)
    try:
        yield
    finally:
        broker.clock = clock


def _broker(url: str | None) -> Store:
    return brokers.current() if url is None else brokers.connect(url)


def _queues(broker: Store, queues: Collection[str] | None) -> list[str]:
    if queues is not None:
        return list(queues)
    return sorted({queue for queue, status, _ in broker.count() if status == "pending"})


def _claimed(broker: Store, ids: Collection[int], queues: Collection[str]) -> list[Job]:
    """Exactly these jobs, as far as they are due; what is due before them keeps its place."""
    jobs = broker.claim(_WORKER, list(queues), _EVERY, _LEASE)
    broker.finish([lifecycle.released(job) for job in jobs if job.id not in ids])
    return [job for job in jobs if job.id in ids]


def _run_all(broker: Store, jobs: Sequence[Job]) -> list[Ran]:
    ran: list[Ran] = []
    try:
        for job in jobs:
            ran.append(_run(broker, job))  # noqa: PERF401 -- the `finally` counts them
    finally:  # Ctrl-C
        broker.finish([lifecycle.released(job) for job in jobs[len(ran) :]])
    return ran


def _run(broker: Store, job: Job) -> Ran:
    outcome = _outcome(broker, job)
    change = lifecycle.settled(job, outcome, _wait(job), broker.clock.wall())
    broker.finish([change])
    id = JobId(job.id)
    id.url = broker.url
    return Ran(
        id=id,
        name=job.name,
        queue=job.queue,
        attempt=job.attempt,
        ending=outcome.ending,
        status=change.status,
        result=_result(job, outcome),
        error=outcome.error,
        traceback=outcome.traceback,
        run_at=None if change.due is None else times.stamp(change.due),
    )


def _outcome(broker: Store, job: Job) -> Outcome:
    """Run the job, unless one that ran before has cancelled it; times are the broker's."""
    if job.receipt in broker.cancellations(_WORKER):
        now = broker.clock.wall()
        return Outcome(job.receipt, "cancelled", now, now, error="cancelled before it ran")
    limits = pools.Limits(timeout=None, result=broker.payload_limit)
    with _nested_awaiting():
        outcome = _outside_of_loops(lambda: pools.run(job, limits))
    ahead = broker.clock.wall() - time.time()
    return outcome._replace(started=outcome.started + ahead, ended=outcome.ended + ahead)


def _wait(job: Job) -> float:
    """The retry policy's answer without jitter, so that tests can count on it."""
    definition = registry.get(job.name)
    policy = backoff.DEFAULT if definition is None else definition.retry
    if callable(policy.strategy):  # it has had its say in the outcome
        policy = backoff.DEFAULT
    return policy.wait(job.attempt)


def _result(job: Job, outcome: Outcome) -> Any:
    definition = registry.get(job.name)
    if outcome.result is None or definition is None:
        return None
    return definition.codec.result(outcome.result)


def _outside_of_loops(work: Callable[[], Returned]) -> Returned:
    """`work()`; in a thread if an event loop runs in this one, which could not run another."""
    import asyncio
    import contextvars

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return work()
    results: list[Returned] = []
    context = contextvars.copy_context()
    thread = threading.Thread(target=lambda: results.append(context.run(work)))
    thread.start()
    thread.join()
    return results[0]


@contextlib.contextmanager
def _nested_awaiting() -> Iterator[None]:
    """Give a task that runs inside of `await other.adelay()` a thread of its own to await on.

    The one that all share is taken: it is where we are.
    """
    before, core._awaiting = core._awaiting, None  # noqa: SLF001 -- nobody else may do this
    try:
        yield
    finally:
        core._awaiting = before  # noqa: SLF001
