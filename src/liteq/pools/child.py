"""Child: what happens inside a pool process. Its worker's end is `processes`.

Two lanes, each with its own way in and out: the main thread runs plain functions one after the
other, where an alarm can interrupt them; a thread runs an event loop for `async def` functions,
many at a time. Each takes its next job off a socket that all pool processes read from, so a job
goes to whichever is free first, even while others are stuck in C code.
"""

import asyncio
import contextlib
import functools
import importlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any, NamedTuple

from liteq import registry
from liteq.errors import Cancel
from liteq.job import Job, Outcome
from liteq.pools import base, wire
from liteq.pools.base import Limits
from liteq.pools.marks import Marks
from liteq.registry import Definition

PLAIN, ASYNC = 0, 1  # the lanes


class Seat(NamedTuple):
    """All that a pool process is given."""

    jobs: tuple[socket.socket, socket.socket]  # per lane: shared by all, messages
    results: tuple[Connection, Connection]  # per lane: its own, frames
    orders: Connection  # for coroutines, frames
    marks_path: str
    limits: Limits
    async_limit: int
    has_async: bool
    max_jobs: int
    max_memory_mb: int
    memory_limit_mb: int
    parent: int  # pid
    modules: Sequence[str]  # to import, where the process was not forked
    definitions: Sequence[Definition]  # to register then: what no module would


def main(seat: Seat, strangers: Sequence[socket.socket | Connection]) -> None:
    """Run jobs until the worker closes the lanes, or this process is worn out.

    `strangers` are ends that a fork has copied and that are not ours to hold open.
    """
    for stranger in strangers:
        stranger.close()
    _die_with(seat.parent)
    _behave(seat.memory_limit_mb)
    for module in seat.modules:
        importlib.import_module(module)
    for definition in seat.definitions:
        registry.register(definition)
    marks = Marks(seat.marks_path)
    wear = _Wear(seat.max_jobs, seat.max_memory_mb, marks)
    lane = None
    if seat.has_async:
        lane = _AsyncLane(seat, marks, wear)
        lane.start()
    _PlainLane(seat, marks, wear).serve()
    if lane is not None:
        lane.finish()


class _Wear:
    """Tells when a process has done enough and is better replaced."""

    def __init__(self, max_jobs: int, max_memory_mb: int, marks: Marks):
        self._max_jobs = max_jobs
        self._max_memory_mb = max_memory_mb
        self._marks = marks
        self._jobs = 0
        self.out = False

    def count(self, outcome: Outcome) -> None:
        """Count a job that has ended, before its end is told: the worker looks when it hears."""
        self._jobs += 1
        if (
            (self._max_jobs and self._jobs >= self._max_jobs)
            or (self._max_memory_mb and _resident_mb() > self._max_memory_mb)
            # What the run has left behind stays in the process.
            or (outcome.error is not None and outcome.error.startswith("MemoryError"))
        ):
            self.out = True
            self._marks.retire()


class _Retired(Exception):
    """Raised out of the wait for the next job when the other lane has worn the process out."""


class _PlainLane:
    """Plain functions, one at a time, in the main thread."""

    def __init__(self, seat: Seat, marks: Marks, wear: _Wear):
        self._jobs = seat.jobs[PLAIN]
        self._results = seat.results[PLAIN].fileno()
        self._limits = seat.limits
        self._marks = marks
        self._wear = wear
        self._armed: Job | None = None  # the run that an alarm may interrupt
        self._deadline: float | None = None  # its own, steady clock
        self._waiting = False
        signal.signal(signal.SIGALRM, self._alarm)

    def serve(self) -> None:
        """Take, run, tell, until the worker closes the lane."""
        buffer = bytearray(2 * wire.LARGEST)
        view = memoryview(buffer)
        while not self._wear.out:
            size = self._next_message(buffer)
            if not size:
                return
            job = wire.read_job(view[:size])
            self._marks.begin(PLAIN, job.receipt)
            outcome = self._outcome(job)
            self._wear.count(outcome)
            # At once, not in batches: the next job may take an hour.
            _tell(self._results, outcome)

    def _next_message(self, buffer: bytearray) -> int:
        try:
            self._waiting = True
            size = self._jobs.recv_into(buffer)
            self._waiting = False
        except _Retired:
            return 0
        return size

    def _outcome(self, job: Job) -> Outcome:
        call = base.prepare(job, self._limits)
        if isinstance(call, Outcome):
            return call
        function: Callable[[], Any] = functools.partial(
            call.definition.function, *call.args, **call.kwargs
        )
        if call.definition.is_async:  # registered too late for the worker to know
            function = functools.partial(_awaited, function)
        limit = job.timeout or self._limits.timeout
        self._deadline = time.monotonic() + limit if limit else None
        try:
            self._armed = job
            if limit:
                signal.signal(signal.SIGALRM, self._alarm)  # a task may have left another there
                signal.setitimer(signal.ITIMER_REAL, limit)
            return base.finished(call, self._limits, function)
        except BaseException as error:  # the alarm came just as the function had ended
            return base.failure(call, self._limits, error)
        finally:
            self._armed = None
            if limit:
                signal.setitimer(signal.ITIMER_REAL, 0)

    def _alarm(self, _signal: int, _frame: FrameType | None) -> None:
        """Raise in the task what is to stop it; once, or cleaning up could never end."""
        job = self._armed
        if self._waiting and self._wear.out:
            self._waiting = False
            raise _Retired
        if job is None:
            return
        if self._deadline is not None and time.monotonic() >= self._deadline:
            self._armed = None
            raise base.over_time(job.timeout or self._limits.timeout)
        if self._marks.stop_ordered() == job.receipt:
            self._armed = None
            raise Cancel("cancelled while it ran")


class _AsyncLane:
    """`async def` functions, many at a time, on an event loop in a thread."""

    def __init__(self, seat: Seat, marks: Marks, wear: _Wear):
        self._jobs = seat.jobs[ASYNC]
        self._results = seat.results[ASYNC].fileno()
        self._orders_from = seat.orders.fileno()
        self._orders = wire.Stream(self._orders_from)
        self._limits = seat.limits
        self._limit = seat.async_limit
        self._marks = marks
        self._wear = wear
        self._buffer = bytearray(2 * wire.LARGEST)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._turns: dict[str, int] = {}  # in the marks
        self._reasons: dict[str, BaseException] = {}
        self._taking = False
        self._open = True
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="liteq-async", daemon=True)

    def start(self) -> None:
        """Begin to take jobs."""
        self._thread.start()
        self._ready.wait()

    def finish(self) -> None:
        """Take no more, and wait for what is running."""
        with contextlib.suppress(RuntimeError):  # it has ended by itself
            self._loop.call_soon_threadsafe(self._close)
        self._thread.join()

    def _run(self) -> None:
        asyncio.run(self._serve())
        if self._wear.out:  # wake the main thread, which may sit and wait for a job
            os.kill(os.getpid(), signal.SIGALRM)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._closed = asyncio.Event()
        self._loop.add_reader(self._orders_from, self._obey)
        self._take_more()
        self._ready.set()
        await self._closed.wait()

    def _take_more(self) -> None:
        if not self._taking and self._open and len(self._tasks) < self._limit:
            self._loop.add_reader(self._jobs.fileno(), self._take)
            self._taking = True

    def _take_no_more(self) -> None:
        if self._taking:
            self._loop.remove_reader(self._jobs.fileno())
            self._taking = False

    def _take(self) -> None:
        while len(self._tasks) < self._limit:
            try:
                size = self._jobs.recv_into(self._buffer, 0, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            if not size:
                return self._close()
            job = wire.read_job(memoryview(self._buffer)[:size])
            self._turns[job.receipt] = self._marks.begin_beside(ASYNC, job.receipt)
            self._tasks[job.receipt] = self._loop.create_task(self._outcome(job))
        self._take_no_more()

    async def _outcome(self, job: Job) -> None:
        self._tell(await base.awaited(job, self._limits, self._reasons, self._stop))

    def _tell(self, outcome: Outcome) -> None:
        self._tasks.pop(outcome.receipt, None)
        self._reasons.pop(outcome.receipt, None)
        self._marks.ended(ASYNC, self._turns.pop(outcome.receipt))
        self._wear.count(outcome)
        _tell(self._results, outcome)
        if self._wear.out:
            self._close()
        self._take_more()
        if not self._open and not self._tasks:
            self._closed.set()

    def _obey(self) -> None:
        for _, receipt in self._orders.read():
            self._stop(str(receipt), Cancel("cancelled while it ran"))
        if self._orders.ended:
            self._loop.remove_reader(self._orders_from)

    def _stop(self, receipt: str, reason: BaseException) -> None:
        task = self._tasks.get(receipt)
        if task is not None:
            self._reasons[receipt] = reason
            # Not before its first step: it would end without a word.
            self._loop.call_soon(task.cancel)

    def _close(self) -> None:
        self._open = False
        self._take_no_more()
        if not self._tasks:
            self._closed.set()


def _tell(results: int, outcome: Outcome) -> None:
    """Tell the worker how a run ended; if the worker is gone, so are we, without a word."""
    try:
        wire.send(results, wire.outcome_frame(outcome))
    except BrokenPipeError:
        os._exit(1)


def _awaited(function: Callable[[], Any]) -> Any:
    async def await_it() -> Any:
        return await function()

    return asyncio.run(await_it())


def _die_with(parent: int) -> None:
    """See to it that this process ends with its worker, however that ends.

    Its jobs will be run by others at once, and no job may run twice at a time.
    """
    if sys.platform == "linux":
        import ctypes

        # prctl(2): PR_SET_PDEATHSIG = 1; the kernel does it, even while C code holds the GIL.
        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
    else:
        threading.Thread(target=_watch_parent, args=(parent,), daemon=True).start()
    if os.getppid() != parent:
        os._exit(1)


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _behave(memory_limit_mb: int) -> None:
    """Leave signals to the worker, lose no output, and keep within the memory limit."""
    for number in (signal.SIGINT, signal.SIGTERM):
        # Not SIG_IGN: programs that a task starts would inherit it and could not be ended.
        signal.signal(number, _ignore)
    os.register_at_fork(after_in_child=_default_signals)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(line_buffering=True)
    if memory_limit_mb:
        import resource

        limit = memory_limit_mb * 1024 * 1024
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _ignore(_signal: int, _frame: FrameType | None) -> None:
    pass


def _default_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def _resident_mb() -> float:
    """Resident memory of this process, in MB (proc(5), statm; elsewhere its peak)."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024**2
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
