"""Memory: a broker in one process's memory, for tests and for work that may be lost with it.

Correct and plain rather than fast; every verb holds one lock. Other processes see nothing of it,
and a forked child that asks its copy is told so.
"""

import os
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import NamedTuple, TypeVar
from urllib.parse import parse_qsl, urlsplit

from liteq import config
from liteq.brokers.base import Clock, Listener
from liteq.errors import BrokerUnavailable
from liteq.job import (
    Attempt,
    AttemptRecord,
    Change,
    Filter,
    Job,
    JobRecord,
    NewJob,
    Status,
    Verdict,
    WorkerInfo,
)
from liteq.times import instant, stamp

_DEPTH = 1000  # how many jobs of a queue a claim looks past for one of another task


class _Ready(NamedTuple):
    """A place in the line of a queue; the smallest is next."""

    rank: int  # the priority, negated
    since: str
    id: int


class _Waiting(NamedTuple):
    """A place among the jobs of a queue whose time has not come."""

    run_at: str
    id: int


_Place = TypeVar("_Place", _Ready, _Waiting)


@dataclass(slots=True)
class _Kept:
    """One job as it is kept: its record, and what readers are not shown."""

    record: JobRecord
    at_most_once: bool
    since: str  # when it was, or will be, due: the older, the sooner its turn
    losses: int = 0
    receipt: str | None = None
    cancel: bool = False  # somebody wants this run stopped
    place: _Ready | _Waiting | None = None  # the one entry of the heaps that counts
    attempts: list[AttemptRecord] = field(default_factory=list)


@dataclass(slots=True)
class _Queue:
    """Two heaps. Entries of jobs that are elsewhere by now are dropped when they come up."""

    ready: list[_Ready] = field(default_factory=list)
    waiting: list[_Waiting] = field(default_factory=list)


class MemoryBroker:
    """All verbs of `Store` over dicts and heaps; `memory://NAME` names one of several."""

    supports: frozenset[str] = frozenset({"ahead", "records"})
    queues: tuple[str, ...] = ()
    lease: float | None = None  # the worker's own setting

    def __init__(self, url: str = "memory://"):
        self.url = url
        self.clock = Clock()
        self.payload_limit = config.settings(dict(parse_qsl(urlsplit(url).query))).payload_limit
        self._lock = _OneProcess(url)
        self._jobs: dict[int, _Kept] = {}  # in the order of ids
        self._queues: dict[str, _Queue] = {}
        self._held: dict[str, dict[int, _Kept]] = {}
        self._leases: dict[str, float] = {}  # worker → until when, by the steady clock
        self._workers: dict[str, WorkerInfo] = {}
        self._paused: dict[str, str] = {}
        self._listeners: set[_Ear] = set()
        self._last_id = 0
        self._claims = 0
        self._arrivals = 0

    # The hot path

    def enqueue(self, jobs: Sequence[NewJob]) -> list[int]:
        """Store the jobs, all or none; their ids, in order."""
        with self._lock:
            now = stamp(self.clock.wall())
            kept = [self._new(job, id, now) for id, job in enumerate(jobs, start=self._last_id + 1)]
            for one, job in zip(kept, jobs, strict=True):
                self._jobs[one.record.id] = one
                self._line_up(one, ready=job.due is None)
            self._last_id += len(kept)
            self._ring({job.queue for job in jobs})
            return [one.record.id for one in kept]

    def claim(
        self,
        worker: str,
        queues: Sequence[str],
        limit: int,
        lease: float,
        skip: Collection[str] = (),
    ) -> list[Job]:
        """Lease up to `limit` due jobs to `worker` for `lease` seconds; see base.Broker."""
        with self._lock:
            now = stamp(self.clock.wall())
            best: list[_Ready] = []
            for queue in self._open(queues):
                best += self._top(self._due(queue, now), limit, skip)
            claimed = [
                self._lease(self._jobs[place.id], worker, now) for place in sorted(best)[:limit]
            ]
            if claimed:
                until = self.clock.steady() + lease
                self._leases[worker] = max(until, self._leases.get(worker, until))
            return claimed

    def beat(self, worker: WorkerInfo, receipts: Collection[str], lease: float) -> Verdict:
        """Say that the worker lives, and renew its lease on all that it holds."""
        with self._lock:
            known = set(receipts)
            self._workers[worker.worker_id] = worker._replace(heartbeat=self.clock.wall())
            self._leases[worker.worker_id] = self.clock.steady() + lease
            for kept in self._of(worker.worker_id):
                if kept.receipt not in known:
                    self._unclaim(kept)
            ours = {kept.receipt: kept.cancel for kept in self._of(worker.worker_id)}
            return Verdict(
                lost=[receipt for receipt in receipts if receipt not in ours],
                cancelled=[receipt for receipt in receipts if ours.get(receipt)],
            )

    def cancellations(self, worker: str) -> list[str]:
        """Receipts of this worker's runs that somebody wants stopped."""
        with self._lock:
            return [kept.receipt for kept in self._of(worker) if kept.cancel and kept.receipt]

    def dismissed(self, worker: str) -> str | None:
        """Nobody sends a worker away through this store."""
        return None

    def finish(self, changes: Sequence[Change], room: int = 0) -> set[int]:
        """Apply the changes whose receipt still holds; the ids of those jobs."""
        with self._lock:
            return {change.id for change in changes if self._apply(change)}

    def due_in(self, queues: Sequence[str]) -> float | None:
        """Seconds until the next delayed job of these queues is due; None: there is none."""
        with self._lock:
            heads = [self._head(self._queues[queue].waiting) for queue in self._open(queues)]
            times = [head.run_at for head in heads if head]
            return max(0.0, instant(min(times)) - self.clock.wall()) if times else None

    def listen(self, queues: Sequence[str]) -> Listener:
        """Start to listen for work on these queues."""
        with self._lock:
            ear = _Ear(queues, self._ignore, lambda: self._arrivals)
            self._listeners.add(ear)
            return ear

    def close(self) -> None:
        """Nothing: there are no connections, and the jobs live as long as the broker."""

    # Questions

    def get(self, id: int) -> JobRecord | None:
        """One job, or None."""
        with self._lock:
            kept = self._jobs.get(id)
            return kept.record if kept else None

    def attempts(self, id: int) -> list[AttemptRecord]:
        """The attempts of a job that did not end well, oldest first."""
        with self._lock:
            kept = self._jobs.get(id)
            return list(kept.attempts) if kept else []

    def find(self, which: Filter, limit: int) -> list[JobRecord]:
        """Jobs that match, newest first."""
        with self._lock:
            found: list[JobRecord] = []
            for kept in self._matching(which):
                if len(found) >= limit:
                    break
                found.append(kept.record)
            return found

    def count(self) -> list[tuple[str, str, int]]:
        """(queue, status, how many), sorted."""
        with self._lock:
            counts: dict[tuple[str, str], int] = {}
            for kept in self._jobs.values():
                key = kept.record.queue, kept.record.status
                counts[key] = counts.get(key, 0) + 1
            return [(queue, status, n) for (queue, status), n in sorted(counts.items())]

    def oldest_due(self) -> dict[str, float]:
        """Per queue with due jobs: how many seconds its oldest one has waited."""
        with self._lock:
            now = self.clock.wall()
            waits: dict[str, float] = {}
            for name in self._queues:
                line = self._due(name, stamp(now))
                places = [place for place in line if self._counts(place)]
                if places:
                    oldest = min(place.since for place in places)
                    waits[name] = max(0.0, now - instant(oldest))
            return waits

    def workers(self) -> list[WorkerInfo]:
        """The workers on record, and those only known from jobs they hold (as expired)."""
        with self._lock:
            now = self.clock.steady()
            known = self._workers.keys() | self._leases.keys() | self._held.keys()
            return [
                self._workers.get(worker, _stranger(worker))._replace(
                    expired=worker not in self._leases or self._leases[worker] < now
                )
                for worker in sorted(known)
            ]

    def held(self, worker: str) -> list[Job]:
        """The jobs that are running under this worker's lease."""
        with self._lock:
            return [_job(kept) for kept in self._of(worker)]

    # Actions of people

    def cancel(self, which: Filter) -> int:
        """Cancel pending jobs at once and ask for running ones to be stopped; how many."""
        with self._lock:
            jobs = [kept for kept in self._matching(which, "pending", "running") if not kept.cancel]
            for kept in jobs:
                if kept.record.status == "running":
                    kept.cancel = True
                else:
                    self._end(kept, "cancelled", "cancelled before it ran")
            self._sweep()
            return len(jobs)

    def revive(self, which: Filter) -> int:
        """Send failed and cancelled jobs round again with all their attempts; how many."""
        with self._lock:
            now = stamp(self.clock.wall())
            jobs = list(self._matching(which, "failed", "cancelled"))
            for kept in jobs:
                kept.losses = 0
                kept.since = now
                kept.record = kept.record._replace(
                    status="pending",
                    attempts=0,
                    run_at=None,
                    worker_id=None,
                    started_at=None,
                    finished_at=None,
                    result=None,
                )
                self._line_up(kept, ready=True)
            self._ring({kept.record.queue for kept in jobs})
            return len(jobs)

    def purge(self, which: Filter) -> int:
        """Delete jobs that are not running; how many."""
        with self._lock:
            jobs = list(self._matching(which, "pending", "done", "failed", "cancelled"))
            return self._delete(jobs)

    def prune(self, statuses: Collection[str], age: float, limit: int) -> int:
        """Delete up to `limit` jobs that ended in one of `statuses` over `age` seconds ago."""
        with self._lock:
            before = stamp(self.clock.wall() - age)
            ended = [
                kept
                for kept in self._jobs.values()
                if kept.record.status in statuses and (kept.record.finished_at or before) < before
            ]
            return self._delete(ended[:limit])

    def pause(self, queue: str) -> None:
        """Let workers claim nothing more from this queue."""
        with self._lock:
            self._paused.setdefault(queue, stamp(self.clock.wall()))

    def resume(self, queue: str) -> None:
        """Let workers claim from this queue again."""
        with self._lock:
            if self._paused.pop(queue, None):
                self._ring({queue})

    def paused(self) -> dict[str, str]:
        """Paused queues and since when (ISO-8601 UTC text)."""
        with self._lock:
            return dict(sorted(self._paused.items()))

    def forget(self, worker: str) -> None:
        """Strike a worker off the record; what it still holds counts as lost."""
        with self._lock:
            self._workers.pop(worker, None)
            self._leases.pop(worker, None)

    # How it is done; the lock is held by all that follows

    def _new(self, job: NewJob, id: int, now: str) -> _Kept:
        record = JobRecord(
            id=id,
            name=job.name,
            payload=job.payload,
            queue=job.queue,
            status="pending",
            priority=job.priority,
            attempts=0,
            max_retries=job.max_retries,
            worker_id=None,
            run_at=None if job.due is None else stamp(job.due),
            created_at=now,
            started_at=None,
            finished_at=None,
            result=None,
            error=None,
            timeout=job.timeout,
        )
        return _Kept(record, job.at_most_once, record.run_at or now)

    def _line_up(self, kept: _Kept, *, ready: bool) -> None:
        """Put a pending job into its queue.

        What is ready never becomes unready: a wall clock that is set back stalls only the delayed.
        """
        record = kept.record
        queue = self._queues.setdefault(record.queue, _Queue())
        if ready:
            kept.place = _Ready(-record.priority, kept.since, record.id)
            heappush(queue.ready, kept.place)
        else:
            kept.place = _Waiting(kept.since, record.id)
            heappush(queue.waiting, kept.place)

    def _open(self, queues: Sequence[str]) -> list[str]:
        """Those queues that exist and are not paused, each once."""
        return [
            queue
            for queue in dict.fromkeys(queues)
            if queue in self._queues and queue not in self._paused
        ]

    def _due(self, name: str, now: str) -> list[_Ready]:
        """The line of a queue, after those whose time has come have joined it."""
        queue = self._queues[name]
        while (head := self._head(queue.waiting)) and head.run_at <= now:
            heappop(queue.waiting)
            self._line_up(self._jobs[head.id], ready=True)
        return queue.ready

    def _top(self, line: list[_Ready], limit: int, skip: Collection[str]) -> list[_Ready]:
        """The first jobs of a line that are of no task in `skip`; they stay in it."""
        passed: list[_Ready] = []
        top: list[_Ready] = []
        while len(top) < limit and len(passed) < limit + _DEPTH and self._head(line):
            place = heappop(line)
            passed.append(place)
            if self._jobs[place.id].record.name not in skip:
                top.append(place)
        for place in passed:
            heappush(line, place)
        return top

    def _head(self, heap: list[_Place]) -> _Place | None:
        """The first entry that counts; those before it are dropped."""
        while heap and not self._counts(heap[0]):
            heappop(heap)
        return heap[0] if heap else None

    def _counts(self, place: _Ready | _Waiting) -> bool:
        kept = self._jobs.get(place.id)
        return kept is not None and kept.place is place

    def _sweep(self) -> None:
        """Drop the entries of jobs that are gone, which might else lie there until their time."""
        for queue in self._queues.values():
            queue.ready = [place for place in queue.ready if self._counts(place)]
            queue.waiting = [place for place in queue.waiting if self._counts(place)]
            heapify(queue.ready)
            heapify(queue.waiting)

    def _lease(self, kept: _Kept, worker: str, now: str) -> Job:
        self._claims += 1
        kept.place = None
        kept.receipt = f"{self._claims}-{kept.record.id}"
        kept.record = kept.record._replace(
            status="running",
            attempts=kept.record.attempts + 1,
            worker_id=worker,
            started_at=now,
            finished_at=None,
        )
        self._held.setdefault(worker, {})[kept.record.id] = kept
        return _job(kept)

    def _of(self, worker: str) -> list[_Kept]:
        return list(self._held.get(worker, {}).values())

    def _let_go(self, kept: _Kept) -> None:
        """Take a run out of its worker's hands."""
        worker = kept.record.worker_id or ""
        del self._held[worker][kept.record.id]
        if not self._held[worker]:
            del self._held[worker]
        kept.receipt = None

    def _unclaim(self, kept: _Kept) -> None:
        self._let_go(kept)
        self._back(kept, attempts=kept.record.attempts - 1, due=None, error=None)

    def _apply(self, change: Change) -> bool:
        kept = self._jobs.get(change.id)
        if kept is None or kept.receipt is None or kept.receipt != change.receipt:
            return False
        if change.record:
            kept.attempts.append(self._attempt(change.record, kept.record))
        self._let_go(kept)
        kept.losses = change.losses
        if change.status == "pending":
            self._back(kept, attempts=change.attempts, due=change.due, error=change.error)
        else:
            self._conclude(kept, change)
        return True

    def _attempt(self, attempt: Attempt, run: JobRecord) -> AttemptRecord:
        """What is kept of a run; who recovers a dead worker's job does not know when it began."""
        return AttemptRecord(
            attempt=attempt.attempt,
            ending=attempt.ending,
            worker_id=run.worker_id,
            started_at=stamp(attempt.started) if attempt.started else run.started_at or "",
            finished_at=stamp(attempt.ended or self.clock.wall()),
            error=attempt.error,
            traceback=attempt.traceback,
        )

    def _back(self, kept: _Kept, *, attempts: int, due: float | None, error: str | None) -> None:
        """Pending again; or cancelled, if that was asked for while it ran."""
        if due is not None:
            kept.since = stamp(due)
        kept.record = kept.record._replace(
            status="pending",
            attempts=attempts,
            run_at=kept.record.run_at if due is None else kept.since,
            worker_id=None,
            started_at=None,
            error=error or kept.record.error,
        )
        if kept.cancel:
            self._end(kept, "cancelled", error or "cancelled while it ran")
            return
        self._line_up(kept, ready=due is None)
        self._ring({kept.record.queue})

    def _conclude(self, kept: _Kept, change: Change) -> None:
        kept.record = kept.record._replace(
            attempts=change.attempts,
            result=change.result,
            started_at=stamp(change.started) if change.started else kept.record.started_at,
        )
        self._end(kept, change.status, change.error, at=change.ended)

    def _end(self, kept: _Kept, status: Status, error: str | None, at: float | None = None) -> None:
        kept.place = None
        kept.cancel = False
        kept.record = kept.record._replace(
            status=status, error=error, finished_at=stamp(at or self.clock.wall())
        )

    def _delete(self, jobs: list[_Kept]) -> int:
        for kept in jobs:
            del self._jobs[kept.record.id]
        self._sweep()
        return len(jobs)

    def _matching(self, which: Filter, *statuses: Status) -> Iterator[_Kept]:
        """Jobs that match and are in one of these states (none given: in any), newest first."""
        for kept in reversed(self._jobs.values()):
            if (not statuses or kept.record.status in statuses) and _matches(kept.record, which):
                yield kept

    def _ignore(self, ear: "_Ear") -> None:
        with self._lock:
            self._listeners.discard(ear)

    def _ring(self, queues: set[str]) -> None:
        self._arrivals += 1
        for ear in self._listeners:
            ear.ring(queues)


class _Ear:
    """The `Listener`: a pipe that a producer's thread writes to."""

    def __init__(
        self, queues: Sequence[str], leave: "Callable[[_Ear], None]", arrivals: Callable[[], int]
    ):
        self._queues = frozenset(queues)
        self._leave = leave
        self._arrivals = arrivals
        self._seen = arrivals()
        self._armed = False
        self._lock = threading.Lock()  # a ring must not meet a closed pipe
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._reading, False)

    def fileno(self) -> int:
        """Readable when rung."""
        return self._reading

    def arm(self) -> None:
        """From now on ring me."""
        with self._lock:
            self._armed = True

    def disarm(self) -> None:
        """Forget the ring that came."""
        with self._lock:
            self._armed = False
            with suppress(BlockingIOError):
                os.read(self._reading, 1)

    def stirred(self) -> bool:
        """Whether jobs came since the last call."""
        seen, self._seen = self._seen, self._arrivals()
        return seen != self._seen

    def close(self) -> None:
        """Leave; nobody rings any more."""
        self._leave(self)
        with self._lock:
            self._armed = False
            if self._reading >= 0:
                os.close(self._reading)
                os.close(self._writing)
            self._reading = self._writing = -1

    def ring(self, queues: set[str]) -> None:
        """Wake the listener if it sleeps and wants one of these queues; once is enough."""
        with self._lock:
            if self._armed and not self._queues.isdisjoint(queues):
                self._armed = False
                os.write(self._writing, b"!")


class _OneProcess:
    """A lock that refuses a forked child, whose copy of the jobs nobody else would ever see."""

    def __init__(self, url: str):
        self._url = url
        self._pid = os.getpid()
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        if os.getpid() != self._pid:
            raise BrokerUnavailable(
                f"{self._url} lives in process {self._pid} alone and cannot be used from a "
                "fork of it; use sqlite:///path/to/file.db"
            )
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _job(kept: _Kept) -> Job:
    record = kept.record
    return Job(
        id=record.id,
        name=record.name,
        payload=record.payload,
        queue=record.queue,
        priority=record.priority,
        attempt=record.attempts,
        max_retries=record.max_retries,
        timeout=record.timeout,
        receipt=kept.receipt or "",
        losses=kept.losses,
        at_most_once=kept.at_most_once,
    )


def _stranger(worker: str) -> WorkerInfo:
    """A worker that holds jobs and has never said anything else about itself."""
    return WorkerInfo(worker, "", (), 0, 0, "", "", 0.0)


def _matches(record: JobRecord, which: Filter) -> bool:
    wanted = (
        (which.queue, record.queue),
        (which.status, record.status),
        (which.name, record.name),
        (which.worker, record.worker_id),
    )
    return (
        all(want is None or want == have for want, have in wanted)
        and (which.ids is None or record.id in which.ids)
        and (which.before is None or record.id < which.before)
        and (which.text is None or _mentions(record, which.text.lower()))
    )


def _mentions(record: JobRecord, text: str) -> bool:
    return any(text in said.lower() for said in (record.name, record.payload, record.error or ""))
