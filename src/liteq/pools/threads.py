"""Threads: the pool that runs jobs in the worker's own process, where nothing can be killed.

Plain functions run in threads, one in each; `async def` functions many at a time on an event loop
in a thread of its own. Good for tasks that wait and share memory, such as one large model. Time
limits and cancel reach `async def` functions only, at their next `await`. A plain function, or a
coroutine that blocks its loop, goes on until it ends by itself, even after its job was handed back
by a worker that stops; C code that keeps the GIL stops the worker as a whole. Limits on memory do
not apply.
"""

import asyncio
import contextlib
import heapq
import logging
import threading
import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import NamedTuple, TypeVar

from liteq import registry
from liteq.config import Settings
from liteq.errors import Cancel
from liteq.job import Job, Outcome
from liteq.pools import base, marks, pace
from liteq.pools.base import Limits, Watcher
from liteq.pools.marks import Marks
from liteq.pools.pace import Pace
from liteq.pools.told import Told, popped

logger = logging.getLogger("liteq.worker")

PLAIN, ASYNC = 0, 1  # the lanes
_REST = 60.0  # seconds between two calls of `tend` when there is nothing to watch
_Item = TypeVar("_Item")


class _InHand(NamedTuple):
    job: Job
    lane: int


class ThreadPool:
    """Runs each plain function in a thread, coroutines together on one event loop."""

    name = "threads"

    def __init__(
        self,
        worker: str,
        concurrency: int,
        limits: Limits,
        settings: Settings,
        *,
        ahead: bool = True,
    ):
        self.slots = concurrency
        self._worker = worker
        self._limits = limits._replace(memory_mb=0)
        self._grace = settings.timeout_grace
        lanes = concurrency, concurrency * settings.async_limit
        self._paces = [Pace(slots, ahead=ahead) for slots in lanes]
        self._moved = [False, False]
        kinds = {definition.is_async for definition in registry.definitions()}
        self._mixed = len(kinds) == 2
        self._only = ASYNC if kinds == {True} else PLAIN
        self._in_hand: dict[str, _InHand] = {}
        self._deadlines: list[tuple[float, str]] = []  # a heap of (look at it then, receipt)
        self._unstoppable: set[str] = set()  # runs of which that has been said
        self._withdrawn: list[Outcome] = []
        self._log = _Log(marks.path(worker, "threads"))
        self._told = Told()
        self._waiting: SimpleQueue[Job | None] = SimpleQueue()
        self._loop = _Loop(self._paces[ASYNC].slots, self._limits, self._log, self._told)

    # ── what the worker calls ──

    def start(self, watcher: Watcher) -> None:
        """Start the threads; say which limits nobody will enforce."""
        self._watcher = watcher
        watcher.watch(self._told.fileno())
        for number in range(self.slots):
            # Daemons: one that never ends must not keep the worker from leaving.
            name = f"liteq-{number + 1}"
            threading.Thread(target=self._serve, name=name, daemon=True).start()
        if not all(definition.is_async for definition in registry.definitions()):
            logger.warning(
                "pool of threads: plain functions cannot be stopped, so neither their time limits "
                "nor cancel are enforced, only those of async tasks; --pool processes does both"
            )

    def room(self) -> tuple[int, Collection[str]]:
        """How many more jobs it would take now, and task names of which it wants none."""
        if not self._mixed:
            return self._paces[self._only].room(), ()
        room, full = pace.share(*self._paces)
        if full is None:
            return room, ()
        full_is_async = full is self._paces[ASYNC]
        return room, [d.name for d in registry.definitions() if d.is_async == full_is_async]

    def put(self, jobs: Sequence[Job]) -> None:
        """Run these, in this order as slots get free."""
        now = time.monotonic()
        for job in jobs:
            lane = self._lane_of(job)
            self._in_hand[job.receipt] = _InHand(job, lane)
            self._paces[lane].took(1)
            limit = self._limit(job)
            if limit:
                heapq.heappush(self._deadlines, (now + limit + self._grace, job.receipt))
            if lane == PLAIN:
                self._waiting.put(job)
            else:
                self._loop.put(job)
        if len(self._deadlines) > 4 * pace.MOST:  # mostly of runs that have long ended
            self._deadlines = [each for each in self._deadlines if each[1] in self._in_hand]
            heapq.heapify(self._deadlines)

    def collect(self, ready: Collection[int]) -> list[Outcome]:
        """The runs that ended."""
        ended, self._withdrawn = [*self._withdrawn, *self._told.outcomes()], []
        outcomes, numbers = [], [0, 0]
        for outcome in ended:
            held = self._in_hand.pop(outcome.receipt, None)
            if held is not None:
                numbers[held.lane] += 1
                outcomes.append(outcome)
        self._unstoppable &= self._in_hand.keys()
        now = time.monotonic()
        for lane, number in enumerate(numbers):
            if number:
                self._paces[lane].ended(number, now)
                self._moved[lane] = True
        return outcomes

    def crowded(self) -> bool:
        """Whether jobs have been waiting here, in vain, since the last call."""
        moved, self._moved = self._moved, [False, False]
        stalled = [
            lane
            for lane, pace_ in enumerate(self._paces)
            if not moved[lane] and pace_.in_hand > pace_.slots
        ]
        for lane in stalled:
            self._paces[lane].stalled()  # or the same jobs would be claimed ahead again
        return bool(stalled)

    def stop_run(self, receipt: str) -> None:
        """Cancel it if it waits or is a coroutine; a plain function that runs is left to end."""
        held = self._in_hand.get(receipt)
        if held is None:
            return
        waiting = self._recalled()
        if receipt in waiting:
            del waiting[receipt]
            self._withdrawn.append(
                Outcome(receipt, "cancelled", error="Cancel: cancelled before it ran")
            )
            self._told.ring()
        elif held.lane == ASYNC:
            self._loop.stop(receipt, Cancel("cancelled while it ran"))
        elif receipt not in self._unstoppable:
            self._unstoppable.add(receipt)
            logger.warning(
                "job %d %s cannot be stopped: it runs in a thread, and goes on until it ends",
                *(held.job.id, held.job.name),
                extra={"job": held.job.id},
            )
        self._wait_again(waiting.values())

    def take_back(self) -> list[Outcome]:
        """What has not begun, as released."""
        self._withdrawn += [Outcome(receipt, "released") for receipt in self._recalled()]
        return self.collect(())

    def tend(self) -> float:
        """Say which runs are over their limit and cannot be stopped; seconds to the next look."""
        now = time.monotonic()
        while self._deadlines and self._deadlines[0][0] <= now:
            self._judge(heapq.heappop(self._deadlines)[1], now)
        return max(0.0, self._deadlines[0][0] - now) if self._deadlines else _REST

    def close(self) -> list[Outcome]:
        """Cancel the coroutines, leave the threads to themselves; what was cut off, as released."""
        outcomes = self.take_back()
        for _ in range(self.slots):
            self._waiting.put(None)
        coroutines_ended = self._loop.close(self._grace)
        outcomes += self.collect(())
        self._watcher.unwatch(self._told.fileno())
        self._told.close()
        for held in self._in_hand.values():
            if held.lane == PLAIN or not coroutines_ended:
                logger.warning(
                    "job %d %s is handed back, but still runs here until this process ends",
                    *(held.job.id, held.job.name),
                    extra={"job": held.job.id},
                )
        outcomes += [self._cut_off(receipt) for receipt in self._in_hand]
        self._in_hand.clear()
        self._log.remove()
        return outcomes

    # ── how ──

    def _serve(self) -> None:
        """One thread's life."""
        while (job := self._waiting.get()) is not None:
            self._log.begin(PLAIN, job.receipt)
            outcome = base.run(job, self._limits)
            self._log.end(PLAIN, job.receipt)
            self._told.tell(outcome)

    def _recalled(self) -> dict[str, Job]:
        """What nobody has begun, by receipt, in order, taken out of the queues."""
        waiting = [*_drained(self._waiting), *self._loop.drained()]
        return {job.receipt: job for job in waiting if job is not None}

    def _wait_again(self, jobs: Collection[Job]) -> None:
        for job in jobs:
            if self._in_hand[job.receipt].lane == PLAIN:
                self._waiting.put(job)
            else:
                self._loop.put(job)

    def _cut_off(self, receipt: str) -> Outcome:
        now, began = time.time(), self._log.begun(receipt) or time.monotonic()
        started = now - (time.monotonic() - began)
        return Outcome(
            receipt, "released", started, now, error="its worker stopped before it ended"
        )

    def _lane_of(self, job: Job) -> int:
        definition = registry.get(job.name)
        if definition is None:  # it fails wherever it runs, so let it not wait behind long ones
            return PLAIN if self._paces[PLAIN].hungry() else ASYNC
        return ASYNC if definition.is_async else PLAIN

    def _limit(self, job: Job) -> float | None:
        return job.timeout or self._limits.timeout

    def _judge(self, receipt: str, now: float) -> None:
        """Complain of a run that is over its limit, once; or look again later."""
        held = self._in_hand.get(receipt)
        if held is None:
            return
        limit, began = self._limit(held.job) or 0.0, self._log.begun(receipt)
        look_at = (now if began is None else began) + limit + self._grace
        if look_at > now:
            heapq.heappush(self._deadlines, (look_at, receipt))
            return
        logger.warning(
            "job %d %s is past its limit of %g seconds; a thread cannot be stopped, so it goes on",
            *(held.job.id, held.job.name, limit),
            extra={"job": held.job.id},
        )


class _Log:
    """Which runs have begun, for several threads to write, and for whoever finds us dead."""

    def __init__(self, path: str):
        self._marks = Marks(path)
        self._turns: dict[str, int] = {}
        self._lock = threading.Lock()
        self._open = True

    def begin(self, lane: int, receipt: str) -> None:
        """Note that this run begins now."""
        with self._lock:
            if self._open:
                self._turns[receipt] = self._marks.begin_beside(lane, receipt)

    def end(self, lane: int, receipt: str) -> None:
        """Note that it has ended."""
        with self._lock:
            if self._open:
                self._marks.ended(lane, self._turns.pop(receipt))

    def begun(self, receipt: str) -> float | None:
        """When it began (steady clock); None: not yet."""
        with self._lock:
            return self._marks.begun(receipt)

    def remove(self) -> None:
        """Forget it all; threads that were left behind may go on writing, to nobody."""
        with self._lock:
            self._open = False
            self._marks.remove()


class _Loop:
    """The thread with the event loop; started with the first coroutine."""

    def __init__(self, limit: int, limits: Limits, log: _Log, told: Told):
        self._limit = limit
        self._limits = limits
        self._log = log
        self._told = told
        self._waiting: deque[Job] = deque()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._reasons: dict[str, BaseException] = {}
        self._cut_off: Collection[str] = ()  # their outcomes say nothing but that we closed
        self._ready = threading.Event()
        self._thread: threading.Thread | None = None

    def put(self, job: Job) -> None:
        """Run it when there is room."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="liteq-async", daemon=True)
            self._thread.start()
            self._ready.wait()
        self._waiting.append(job)
        self._loop.call_soon_threadsafe(self._begin)

    def drained(self) -> list[Job]:
        """What has not begun, in order; it will not."""
        return list(popped(self._waiting))

    def stop(self, receipt: str, reason: BaseException) -> None:
        """Cancel this run; `reason` is what it will have ended by."""
        self._loop.call_soon_threadsafe(self._stop, receipt, reason)

    def close(self, grace: float) -> bool:
        """Cancel all, and give them this long to clean up; whether all have ended."""
        if self._thread is None:
            return True
        self._loop.call_soon_threadsafe(self._close)
        self._thread.join(grace)
        return not self._thread.is_alive()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._closed = asyncio.Event()
        self._ready.set()
        await self._closed.wait()

    def _begin(self) -> None:
        while len(self._tasks) < self._limit:
            job = next(popped(self._waiting), None)
            if job is None:
                return
            self._log.begin(ASYNC, job.receipt)
            self._tasks[job.receipt] = self._loop.create_task(self._outcome(job))

    async def _outcome(self, job: Job) -> None:
        self._tell(await base.awaited(job, self._limits, self._reasons, self._stop))

    def _tell(self, outcome: Outcome) -> None:
        self._tasks.pop(outcome.receipt, None)
        self._reasons.pop(outcome.receipt, None)
        self._log.end(ASYNC, outcome.receipt)
        if outcome.receipt not in self._cut_off:
            self._told.tell(outcome)
        self._begin()

    def _stop(self, receipt: str, reason: BaseException) -> None:
        task = self._tasks.get(receipt)
        if task is not None:
            self._reasons[receipt] = reason
            # Not before its first step: it would end without a word.
            self._loop.call_soon(task.cancel)

    def _close(self) -> None:
        self._cut_off = frozenset(self._tasks)
        self._closed.set()  # and asyncio.run cancels what still runs


def _drained(queue: "SimpleQueue[_Item]") -> Iterator[_Item]:
    with contextlib.suppress(Empty):
        while True:
            yield queue.get_nowait()
