"""Caller: the pool that runs one job at a time in the thread that called the worker's `run`.

For handlers that want to live where they were written: in the main thread, beside the program's
own connections and globals. While a job runs, a second thread keeps its lease, and an alarm stops
it at its time limit, or when a stopping worker's grace is over. The alarm is a signal, so that it
works in the main thread only, and not while C code keeps the interpreter; for jobs that must be
stopped whatever they do there are processes.
"""

import logging
import signal
import threading
import time
from collections.abc import Callable, Collection, Sequence
from types import FrameType

from liteq.errors import BrokerError
from liteq.job import Job, Outcome
from liteq.pools import base
from liteq.pools.base import Limits, Watcher

logger = logging.getLogger("liteq.worker")

_REST = 60.0  # seconds; there is never anything to tend
_LOOK = 0.2  # seconds between the keeper's looks at the clock


class CallerPool:
    """Runs a job when it is put, before `put` returns.

    `keep(receipt)` is called every `every` seconds while a job runs, from another thread, and is
    to renew its lease. `over()` says whether the worker's grace is over, so that the run must end.
    """

    name = "at a time in this thread"
    slots = 1

    def __init__(
        self,
        limits: Limits,
        keep: Callable[[str], object],
        every: float,
        over: Callable[[], bool],
    ):
        self._limits = limits._replace(memory_mb=0)
        self._ended: list[Outcome] = []
        self._keep = keep
        self._every = every
        self._over = over
        self._alarms = threading.current_thread() is threading.main_thread()
        self._armed: Job | None = None  # the run that an alarm may interrupt
        self._deadline: float | None = None  # its own, steady clock
        self._cut_off = False
        self._closed = threading.Event()
        self._keeper: threading.Thread | None = None

    def start(self, watcher: Watcher) -> None:
        """Set the alarm up; say so where there can be none."""
        self._thread = threading.get_ident()
        if self._alarms:
            self._before = signal.signal(signal.SIGALRM, self._alarm)
        elif self._limits.timeout:
            logger.warning("time limits are not enforced outside of the main thread")

    def room(self) -> tuple[int, Collection[str]]:
        """One at a time: what is claimed begins at once."""
        return (0 if self._ended else 1), ()

    def crowded(self) -> bool:
        """Never: nothing waits in here."""
        return False

    def put(self, jobs: Sequence[Job]) -> None:
        """Run them, one after the other."""
        self._ended += [self._run(job) for job in jobs]

    def collect(self, ready: Collection[int]) -> list[Outcome]:
        """The runs that ended."""
        ended, self._ended = self._ended, []
        return ended

    def stop_run(self, receipt: str) -> None:
        """Too late: whatever was put has ended."""

    def take_back(self) -> list[Outcome]:
        """Nothing: whatever was put has begun."""
        return []

    def tend(self) -> float:
        """Nothing to do."""
        return _REST

    def close(self) -> list[Outcome]:
        """What ended last; the alarm is given back."""
        self._closed.set()
        if self._keeper is not None:
            self._keeper.join()
        if self._alarms:
            signal.signal(signal.SIGALRM, self._before)
        return self.collect(())

    def _run(self, job: Job) -> Outcome:
        limit = job.timeout or self._limits.timeout
        call = base.prepare(job, self._limits)
        if isinstance(call, Outcome):
            return call
        self._begin(job, limit)
        try:
            outcome = base.ran(call, self._limits)
            self._armed = None
        except BaseException as error:  # the alarm came just as the function had ended
            outcome = base.failure(call, self._limits, error)
        self._end()
        if not self._cut_off:
            return outcome
        self._cut_off = False
        return outcome._replace(ending="released", error="its worker stopped before it ended")

    def _begin(self, job: Job, limit: float | None) -> None:
        if self._keeper is None:
            self._keeper = threading.Thread(target=self._serve, name="liteq-keeper", daemon=True)
            self._keeper.start()
        self._deadline = time.monotonic() + limit if limit else None
        self._armed = job
        if limit and self._alarms:
            signal.setitimer(signal.ITIMER_REAL, limit)

    def _end(self) -> None:
        self._armed = None
        if self._deadline is not None and self._alarms:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _alarm(self, _signal: int, _frame: FrameType | None) -> None:
        """Raise in the task what is to stop it; once, or cleaning up could never end."""
        job = self._armed
        if job is None:
            return
        if self._deadline is not None and time.monotonic() >= self._deadline:
            self._armed = None
            raise base.over_time(job.timeout or self._limits.timeout)
        if self._over():
            self._armed = None
            self._cut_off = True
            raise base.over_time(0)

    def _serve(self) -> None:
        """The keeper: see to the run of the other thread, if it is a long one."""
        renewed = time.monotonic()
        while not self._closed.wait(_LOOK):
            job = self._armed
            now = time.monotonic()
            if job is None:
                renewed = now
                continue
            if now - renewed >= self._every:
                renewed = now
                try:
                    self._keep(job.receipt)
                except BrokerError as error:
                    logger.error("the lease of job %d could not be renewed: %s", job.id, error)
            if self._alarms and self._over():
                signal.pthread_kill(self._thread, signal.SIGALRM)
