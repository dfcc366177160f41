"""Worker: settle what ended, fill what is free, beat, rest; until told to stop.

It decides no job's fate (lifecycle does), runs none (the pool does) and stores none (the broker
does). One thread, one loop, one selector; whatever may wake it is a descriptor in there.

    while not over:
        take     pool.collect → outcomes → lifecycle → changes
        tend     heartbeat, dead workers' jobs, cancellations, limits, pruning
        trade    changes → broker.finish; broker.claim → pool.put
        rest     until a run ends, somebody rings, or the next of these is due
"""

import logging
import multiprocessing
import os
import random
import secrets
import selectors
import signal
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any, Literal, TypeVar

from liteq import backoff, brokers, lifecycle, machine, registry
from liteq.backoff import RetryPolicy
from liteq.brokers.base import Store
from liteq.config import Settings, settings
from liteq.errors import BrokerCorrupt, BrokerError, SchemaTooNew, TaskTimeout
from liteq.job import UNLIMITED, Change, Job, Outcome, WorkerInfo
from liteq.pools import marks
from liteq.pools.base import Limits, Pool

logger = logging.getLogger("liteq.worker")

TICK = 0.5  # seconds between looks at what nobody rings for: a dead worker is found within 1
_SKIP_PAUSE = 0.05  # a search for one kind of task among many others is not for every turn
_BEAT_AT_MOST = 10.0  # monitoring counts a worker as active for 15 seconds after a beat
_PRUNE_EVERY = 60.0
_PRUNE_BATCH = 500
# Not longer: when the broker is back, work goes on within this time.
_TROUBLE = RetryPolicy("exponential", first=0.1, cap=1.0, jitter=0.5)
_Returned = TypeVar("_Returned")
PoolName = Literal["processes", "threads", "inline"]


class Worker:
    """Runs the jobs of some queues. `run()` blocks until `stop()`, SIGTERM or SIGINT.

    `queues`: all queues that the registered tasks name, if not given. `concurrency`: how many
    processes (or threads) run side by side, by default one for each processor. `task_timeout`: the
    time limit in seconds of tasks that have none of their own. `burst`: stop when nothing is due.
    `url`: another broker than LITEQ_URL or LITEQ_DB. `pool` and `broker` may also be objects of
    your own that do what pools.base.Pool and brokers.base.Store say. Further arguments are fields
    of config.Settings. Raises ValueError for what makes no sense.
    """

    def __init__(
        self,
        queues: Sequence[str] | None = None,
        concurrency: int | None = None,
        task_timeout: float | None = None,
        *,
        pool: PoolName | Pool = "processes",
        burst: bool = False,
        url: str | None = None,
        broker: Store | None = None,
        **options: Any,
    ):
        if isinstance(queues, str):
            raise ValueError(f"queues={queues!r} is a text; give a list of names: [{queues!r}]")
        self._queues_asked = None if queues is None else tuple(dict.fromkeys(queues))
        self.queues = self._queues_asked or tuple(registry.queues())
        self.concurrency = (os.cpu_count() or 1) if concurrency is None else concurrency
        self.task_timeout = task_timeout
        self.burst = burst
        self.worker_id = f"{_short_host()}-{os.getpid()}-{secrets.token_hex(2)}"
        self._pool = pool
        self._url = url
        self._broker = broker
        self.logger = logger
        self._settings = settings(**options)
        self.paused = False
        self._stop_asked = 0
        self._asked_since = 0.0
        self.cut_off = 0  # runs that were handed back; in threads they go on all the same
        self._check()

    def run(self) -> None:
        """Run jobs until stopped; then hand back what has not ended within the grace.

        Raises BrokerCorrupt, SchemaTooNew or the broker's other errors at the start if it cannot
        be used at all; later faults of the broker are waited out.
        """
        if _imported_by_a_pool_process():
            return
        broker = self._broker
        if broker is None:
            broker = brokers.connect(self._url) if self._url else brokers.current()
        if self._queues_asked is None and broker.queues:
            self.queues = broker.queues
        broker.count()  # a broker that cannot be used is better known now
        self._wake_read, self._wake_write = socket.socketpair()
        try:
            with self._signals():
                _Run(self, broker, self._settings, _pool(self, broker, self._settings)).go()
        finally:
            self._wake_read.close()
            self._wake_write.close()

    @property
    def pool_name(self) -> str:
        """What runs the jobs, in a word."""
        return self._pool if isinstance(self._pool, str) else self._pool.name

    def grace_is_over(self) -> bool:
        """Whether it was told to stop so long ago that running jobs are to be cut off."""
        asked, since = self._stop_asked, self._asked_since
        return asked > 1 or (
            asked > 0 and time.monotonic() >= since + self._settings.shutdown_grace
        )

    def stop(self) -> None:
        """Ask the worker to stop; from any thread. A second time: at once."""
        if not self._stop_asked:
            self._asked_since = time.monotonic()
        self._stop_asked += 1
        self._wake()

    @property
    def stopping(self) -> bool:
        """Whether it was asked to stop."""
        return self._stop_asked > 0

    def pause(self) -> None:
        """Take no more jobs until `resume`; those that run go on. From any thread."""
        self.paused = True

    def resume(self) -> None:
        """Take jobs again."""
        self.paused = False
        self._wake()

    def _wake(self) -> None:
        try:
            self._wake_write.send(b"!")
        except (AttributeError, OSError):  # not running (any more)
            return

    def _check(self) -> None:
        asked = self._queues_asked
        if asked is not None and not (asked and all(asked)):
            raise ValueError(f"queues={list(asked)!r}: name at least one, and none empty")
        if self.concurrency < 1:
            raise ValueError(f"concurrency={self.concurrency!r} must be at least 1")
        if self.task_timeout is not None and not 0 < self.task_timeout < float("inf"):
            raise ValueError(f"task_timeout={self.task_timeout!r} must be more than 0 seconds")
        if isinstance(self._pool, str) and self._pool not in ("processes", "threads", "inline"):
            raise ValueError(f"pool={self._pool!r}: use processes, threads or inline")

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT stop us, SIGUSR2 and SIGCONT pause and resume, as Laravel's workers.

        Only where we are the main thread, and may say so.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        actions = {
            signal.SIGTERM: self.stop,
            signal.SIGINT: self.stop,
            signal.SIGUSR2: self.pause,
            signal.SIGCONT: self.resume,
        }

        def on_signal(number: int, _frame: FrameType | None) -> None:
            actions[signal.Signals(number)]()

        before = [signal.signal(number, on_signal) for number in actions]
        try:
            yield
        finally:
            for number, handler in zip(actions, before, strict=True):
                signal.signal(number, handler)


class _Run:
    """One life of a worker, from start to stop."""

    def __init__(self, worker: Worker, broker: Store, settings: Settings, pool: Pool):
        self._worker = worker
        self._id = worker.worker_id
        self._queues = worker.queues
        self._logger = worker.logger
        self._broker = broker
        self._settings = settings
        self._lease = broker.lease or settings.lease
        self._pool = pool
        self._selector = selectors.DefaultSelector()
        self._ready: set[int] = set()
        self._jobs: dict[str, Job] = {}  # in hand, by receipt
        self._changes: list[Change] = []  # not accepted by the broker yet
        self._dropped: set[str] = set()  # lost leases: their outcomes are nobody's business
        self._neighbours: list[WorkerInfo] = []
        self._more = True  # the last claim got all that it asked for
        self._next_beat = self._next_tick = self._next_prune = 0.0
        self._next_pool = 0.0
        self._skip_again = 0.0
        self._was_paused = False
        self._due = float("inf")  # when the next delayed job is due, steady clock
        self._troubles = 0
        self._trouble_until = 0.0
        self._stopping_since: float | None = None
        self._started = time.time()

    def go(self) -> None:
        """Start, loop, and leave nothing behind."""
        self._watch(self._worker._wake_read.fileno())
        # On record before there is anything that others would have to clear up after us.
        self._beat(time.monotonic())
        self._listener = self._broker.listen(self._queues)
        try:
            self._pool.start(self)
            self._watch(self._listener.fileno())
            self._say_hello()
            while not self._over():
                self._take(self._pool.collect(self._ready))
                self._tend()
                self._trade()
                self._rest()
        finally:
            self._leave()

    # ── the selector, as the pool sees it ──

    def watch(self, descriptor: int, write: bool = False) -> None:
        """Wake up when this may be read, or else written."""
        events = selectors.EVENT_WRITE if write else selectors.EVENT_READ
        if descriptor not in self._selector.get_map():
            self._selector.register(descriptor, events)

    def unwatch(self, descriptor: int) -> None:
        """No longer."""
        if descriptor in self._selector.get_map():
            self._selector.unregister(descriptor)

    _watch = watch

    # ── take ──

    def _take(self, outcomes: Collection[Outcome]) -> None:
        """Turn outcomes into changes."""
        now = self._broker.clock.wall()
        for outcome in outcomes:
            job = self._jobs.pop(outcome.receipt, None)
            if job is None:
                continue
            if outcome.receipt in self._dropped:
                self._dropped.discard(outcome.receipt)
                continue
            if outcome.ending == "done":
                change = lifecycle.succeeded(job, outcome)
            else:
                wait, judged = _retry(job, outcome)
                change = lifecycle.settled(job, judged, wait, now)
            self._changes.append(change)
            _report(self._logger, job, outcome, change, now)

    # ── trade ──

    def _trade(self) -> None:
        """Give what has ended for what is to begin."""
        limit, skip = self._wanted()
        self._flush(0 if skip else limit)
        self._fill(limit, skip)

    def _flush(self, room: int = 0) -> None:
        """Have the broker apply the changes; kept and tried again if it cannot just now.

        `room`: how many jobs are claimed right after.
        """
        if not self._changes or time.monotonic() < self._trouble_until:
            return
        changes = self._changes
        accepted = self._trying(lambda: self._broker.finish(changes, room))
        if accepted is None:
            return
        self._changes = []
        if len(accepted) < len(changes):
            for change in changes:
                if change.id not in accepted:
                    self._logger.warning(
                        "job %d: result refused, its lease is no longer ours",
                        change.id,
                        extra={"job": change.id},
                    )

    def _wanted(self) -> tuple[int, Collection[str]]:
        """How many jobs to claim now, and task names of which to claim none."""
        if self._worker._stop_asked or self._worker.paused:
            return 0, ()
        limit, skip = self._pool.room()
        return (0, ()) if skip and time.monotonic() < self._skip_again else (limit, skip)

    def _fill(self, limit: int, skip: Collection[str]) -> None:
        self._more = False
        if limit < 1 or time.monotonic() < self._trouble_until:
            return
        jobs = self._trying(
            lambda: self._broker.claim(self._id, self._queues, limit, self._lease, skip)
        )
        if not jobs:
            if skip:
                self._skip_again = time.monotonic() + _SKIP_PAUSE
            return
        if self._worker._stop_asked or self._worker.paused:  # who heard how a job ended said so
            self._changes += [lifecycle.released(job) for job in jobs]
            return
        self._more = len(jobs) == limit
        for job in jobs:
            self._jobs[job.receipt] = job
        self._pool.put(self._fit(jobs))
        self._next_pool = 0.0  # their deadlines may be nearer than what it last said

    def _fit(self, jobs: list[Job]) -> list[Job]:
        """Those that may run; the others end here."""
        now = self._broker.clock.wall()
        refused = [(job, change) for job in jobs if (change := lifecycle.unfit(job, now))]
        if not refused:
            return jobs
        for job, change in refused:
            del self._jobs[job.receipt]
            self._changes.append(change)
            outcome = Outcome(job.receipt, "failed", now, now, error=change.error)
            _report(self._logger, job, outcome, change, now)
        self._more = True  # settle them before resting
        return [job for job in jobs if job.receipt in self._jobs]

    # ── tend ──

    def _tend(self) -> None:
        now = time.monotonic()
        if self._ready or now >= self._next_pool:  # what woke us may be a process that died
            self._next_pool = now + self._pool.tend()
        if now >= self._next_beat:
            self._beat(now)
        if now >= self._next_tick:
            self._next_tick = now + TICK
            self._tick(now)
        self._heed_stop(now)

    def _tick(self, now: float) -> None:
        """Look at what nobody rings for."""
        if self._worker.paused != self._was_paused:
            self._was_paused = self._worker.paused
            said = "is paused" if self._was_paused else "goes on"
            self._logger.info("worker %s %s", self._id, said, extra={"worker": self._id})
        if self._pool.crowded():
            self._take(self._pool.take_back())
        if now < self._trouble_until:
            return
        why = self._trying(lambda: self._broker.dismissed(self._id))
        if why and not self._worker._stop_asked:
            self._logger.info("worker %s: %s", self._id, why, extra={"worker": self._id})
            self._worker.stop()
        stirred = self._trying(self._listener.stirred)
        if stirred:
            self._more = True
            self._look_ahead(now)
            for receipt in self._trying(lambda: self._broker.cancellations(self._id)) or ():
                self._stop_run(receipt)
            self._neighbours = self._trying(self._broker.workers) or []
        self._recover()
        if now >= self._next_prune:
            self._prune(now)

    def _look_ahead(self, now: float) -> None:
        """When is the next delayed job due?"""
        seconds = self._trying(lambda: self._broker.due_in(self._queues))
        self._due = float("inf") if seconds is None else now + seconds

    def _say_hello(self) -> None:
        self._logger.info(
            "worker %s started: queues %s, %d %s, broker %s",
            self._id,
            ",".join(self._queues),
            self._worker.concurrency,
            self._worker.pool_name,
            self._broker.url,
            extra={"worker": self._id},
        )
        self._recover()

    def _beat(self, now: float) -> None:
        """Renew the lease; drop what is no longer ours."""
        if now < self._trouble_until:
            return
        # What is ended but not accepted yet is still held under our lease.
        held = [*self._jobs, *(change.receipt for change in self._changes)]
        info = self._info()
        verdict = self._trying(lambda: self._broker.beat(info, held, self._lease))
        if verdict is None:
            return
        self._next_beat = now + min(self._lease / 3, _BEAT_AT_MOST)
        # Also when nothing stirs: a lease runs out in silence.
        self._neighbours = self._trying(self._broker.workers) or []
        for receipt in verdict.lost:
            if receipt in self._jobs:
                self._logger.warning("job %d: lease lost, stopping it", self._jobs[receipt].id)
                self._dropped.add(receipt)
                self._stop_run(receipt)
        for receipt in verdict.cancelled:
            self._stop_run(receipt)

    def _stop_run(self, receipt: str) -> None:
        self._pool.stop_run(receipt)
        self._next_pool = 0.0  # it wants to look soon whether that has helped

    def _info(self) -> WorkerInfo:
        pid = os.getpid()
        return WorkerInfo(
            self._id,
            socket.gethostname(),
            self._queues,
            self._worker.concurrency,
            pid,
            machine.identity(),
            machine.born(pid) or "",
            self._started,
            active=len(self._jobs),
        )

    def _recover(self) -> None:
        """Send the jobs of dead workers round again."""
        here = machine.identity()
        for other in list(self._neighbours):
            if other.worker_id == self._id:
                continue
            if other.machine == here and not machine.alive(other.pid, other.born):
                self._trying(partial(self._inherit, other, "died"))
            elif other.expired:
                self._trying(partial(self._inherit, other, "was silent past its lease"))

    def _inherit(self, dead: WorkerInfo, why: str) -> bool:
        begun = marks.of_worker(dead.worker_id)
        jobs = self._broker.held(dead.worker_id)
        changes = []
        now = self._broker.clock.wall()
        name = dead.worker_id or "unknown"
        how = f"worker {name} (pid {dead.pid}) {why} while it ran"
        for job in jobs:
            if begun is not None and job.receipt not in begun:
                changes.append(lifecycle.released(job))
                continue
            outcome = Outcome(job.receipt or "", "lost", now, now, error=how)
            changes.append(lifecycle.lost(job, outcome, _retry(job, outcome)[0], now))
        self._broker.finish(changes)
        marks.remove_of(dead.worker_id)
        self._broker.forget(dead.worker_id)  # last: whoever dies in here leaves the rest to others
        self._neighbours = [each for each in self._neighbours if each != dead]
        self._more = True
        self._logger.warning(
            "worker %s %s; its %d job(s) go round again",
            name,
            why,
            len(changes),
            extra={"worker": name},
        )
        return True

    def _prune(self, now: float) -> None:
        ages = {
            ("done",): self._settings.keep_done,
            ("failed", "cancelled"): self._settings.keep_failed,
        }
        self._next_prune = now + _PRUNE_EVERY
        for statuses, age in ages.items():
            if age:
                pruned = self._trying(partial(self._broker.prune, statuses, age, _PRUNE_BATCH))
                if pruned == _PRUNE_BATCH:
                    self._next_prune = now  # there is more; in small steps, with work in between

    # ── rest ──

    def _rest(self) -> None:
        """Sleep until something happens, if there is nothing to do."""
        idle = not self._changes and self._pool.room()[0] > 0 and self._stopping_since is None
        if self._more or (self._stopping_since is not None and not self._jobs):
            self._select(0.0)
        elif not idle:
            self._select(self._patience())
        else:
            self._sleep_lightly()

    def _sleep_lightly(self) -> None:
        """Arm the bell, look once more, and only then sleep: so no ring is missed."""
        self._listener.arm()
        try:
            self._look_ahead(time.monotonic())
            self._fill(*self._wanted())
            self._select(0.0 if self._more else self._patience())
            if self._listener.fileno() in self._ready:
                self._fill(*self._wanted())  # before anything else: somebody waits for just this
        finally:
            self._listener.disarm()

    def _patience(self) -> float:
        """Seconds until the next thing that comes by the clock."""
        moments = [self._next_tick, self._next_beat, self._next_pool, self._due]
        if self._stopping_since is not None:
            moments.append(self._stopping_since + self._settings.shutdown_grace)
        if self._worker.burst and not self._jobs:
            return self._wait_for_trouble()
        return max(0.0, min(moments) - time.monotonic(), self._wait_for_trouble())

    def _wait_for_trouble(self) -> float:
        return min(TICK, max(0.0, self._trouble_until - time.monotonic()))

    def _select(self, timeout: float) -> None:
        self._ready = {key.fd for key, _ in self._selector.select(timeout)}
        if self._worker._wake_read.fileno() in self._ready:
            self._worker._wake_read.recv(64)

    # ── stop ──

    def _heed_stop(self, now: float) -> None:
        if self._worker._stop_asked and self._stopping_since is None:
            self._stopping_since = now
            self._take(self._pool.take_back())
            self._logger.info(
                "worker %s is stopping; %d job(s) still running", self._id, len(self._jobs)
            )

    def _over(self) -> bool:
        if self._stopping_since is not None:
            grace_over = time.monotonic() >= self._stopping_since + self._settings.shutdown_grace
            return not self._jobs or grace_over or self._worker._stop_asked > 1
        if self._worker.burst and not self._jobs and not self._more and self._next_beat:
            return not self._changes and self._nothing_due()
        return False

    def _nothing_due(self) -> bool:
        self._fill(*self._wanted())
        return not self._jobs

    def _leave(self) -> None:
        """Hand back what has not ended, and strike ourselves off the record."""
        outcomes = self._pool.close()
        self._worker.cut_off = sum(
            each.ending == "released" and each.started > 0 for each in outcomes
        )
        self._take(outcomes)
        self._flush_at_last()
        try:
            self._broker.forget(self._id)
        except BrokerError as error:
            self._logger.error("could not sign off: %s", error)
        self._listener.close()
        self._selector.close()
        self._broker.close()
        self._logger.info("worker %s stopped", self._id, extra={"worker": self._id})

    def _flush_at_last(self) -> None:
        """The last changes, for some seconds if need be; then they are found as a dead worker's."""
        deadline = time.monotonic() + 5.0
        while self._changes and time.monotonic() < deadline:
            self._trouble_until = 0.0
            self._flush()
            if self._changes:
                time.sleep(0.1)

    # ── trouble ──

    def _trying(self, verb: Callable[[], _Returned]) -> _Returned | None:
        """What the verb returns; None, after a pause that grows, while the broker is in trouble.

        Raises what no waiting will mend.
        """
        try:
            returned = verb()
        except (BrokerCorrupt, SchemaTooNew):
            raise
        except BrokerError as error:
            self._troubles += 1
            pause = _TROUBLE.wait(self._troubles, random.random())
            self._trouble_until = time.monotonic() + pause
            self._logger.error("broker in trouble, trying again in %.1f s: %s", pause, error)
            return None
        if self._troubles:
            self._logger.info("broker is well again")
            self._troubles, self._trouble_until = 0, 0.0
        return returned


def _pool(worker: Worker, broker: Store, settings: Settings) -> Pool:
    if not isinstance(worker._pool, str):
        return worker._pool
    limits = Limits(worker.task_timeout, broker.payload_limit, settings.memory_limit_mb)
    ahead = "ahead" in broker.supports
    if worker._pool == "processes":
        from liteq.pools.processes import ProcessPool

        return ProcessPool(worker.worker_id, worker.concurrency, limits, settings, ahead=ahead)
    if worker._pool == "threads":
        from liteq.pools.threads import ThreadPool

        return ThreadPool(worker.worker_id, worker.concurrency, limits, settings, ahead=ahead)
    from liteq.pools.inline import InlinePool

    return InlinePool(limits)


def _imported_by_a_pool_process() -> bool:
    """Whether the script that runs us is only being imported, so that its tasks get known.

    Then a worker at its end, not guarded by `if __name__ == "__main__"`, must not start another.
    """
    return getattr(multiprocessing.current_process(), "_inheriting", False)


def _retry(job: Job, outcome: Outcome) -> tuple[float, Outcome]:
    """How long to wait before the next attempt; the outcome knows now whether there may be one."""
    definition = registry.get(job.name)
    policy = backoff.DEFAULT if definition is None else definition.retry
    final = outcome.final
    if outcome.ending == "timeout":
        final = final or not policy.deserves(TaskTimeout())
    outcome = outcome._replace(final=final)
    if job.terms is not None and job.terms.waits:  # the job's own wish goes before its task's
        if outcome.ending != "retry":
            outcome = outcome._replace(after=None)
        return job.terms.waits[min(max(1, job.attempt), len(job.terms.waits)) - 1], outcome
    if callable(policy.strategy):  # the user's function has had its say in the pool
        policy = backoff.DEFAULT
    return policy.wait(max(1, job.attempt), random.random()), outcome


def _report(logger: logging.Logger, job: Job, outcome: Outcome, change: Change, now: float) -> None:
    """One line for each run that ended."""
    if outcome.ending == "done" and not logger.isEnabledFor(logging.INFO):
        return  # the dict alone would cost the hot path half a microsecond
    took = outcome.ended - outcome.started
    name = job.name if job.terms is None else job.terms.label or job.name
    about = {"job": job.id, "task": job.name, "queue": job.queue, "attempt": job.attempt}
    if outcome.ending == "done":
        logger.info("job %d %s done in %.3f s", job.id, name, took, extra=about)
    elif outcome.ending == "released":
        logger.info("job %d %s handed back", job.id, name, extra=about)
    elif change.status == "pending":
        wait = 0.0 if change.due is None else max(0.0, change.due - now)
        logger.warning(
            "job %d %s failed attempt %s, again in %.0f s: %s",
            job.id,
            name,
            _counted(job),
            wait,
            outcome.error,
            extra=about,
        )
    else:
        logger.error(
            "job %d %s %s after attempt %s: %s",
            job.id,
            name,
            change.status,
            _counted(job),
            outcome.error,
            extra=about,
        )
        if outcome.traceback:
            logger.error("%s", outcome.traceback.rstrip(), extra=about)


def _counted(job: Job) -> str:
    """Which run of how many it was."""
    of = "" if job.max_retries >= UNLIMITED else f"/{job.max_retries + 1}"
    return f"{job.attempt}{of}"


def _short_host() -> str:
    """The host's name, as far as it fits into a receipt."""
    return "".join(c for c in socket.gethostname() if c.isalnum() or c == "-")[:10] or "host"
