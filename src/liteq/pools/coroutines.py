"""Coroutines: the pool that runs jobs on an event loop that is somebody else's.

For a worker that lives inside an asyncio program: it runs in a thread of its own, its jobs on the
program's loop, beside all else that runs there. Plain functions run in threads of the loop. Time
limits and cancel reach coroutines at their next `await`; a plain function goes on until it ends.
It takes no job before it can begin it: `room` is a hard limit.
"""

import asyncio
import time
from collections.abc import Collection, Sequence

from liteq import registry
from liteq.errors import Cancel
from liteq.job import Job, Outcome
from liteq.pools import base
from liteq.pools.base import Limits, Watcher
from liteq.pools.told import Told

_REST = 60.0  # seconds; there is never anything to tend


class CoroutinePool:
    """Runs up to `slots` jobs at a time on `loop`; all but `put`'s callbacks is another thread's.

    Jobs that are cut off when the worker stops may clean up for `grace` seconds.
    """

    name = "coroutines"

    def __init__(
        self, loop: asyncio.AbstractEventLoop, slots: int, limits: Limits, grace: float = 0.3
    ):
        self.slots = slots
        self._loop = loop
        self._limits = limits._replace(memory_mb=0)
        self._grace = grace
        self._told = Told()
        self._in_hand: dict[str, float] = {}  # receipts, and when they were put
        self._tasks: dict[str, asyncio.Task[None]] = {}  # the loop's own
        self._reasons: dict[str, BaseException] = {}
        self._closing = False

    def start(self, watcher: Watcher) -> None:
        """Have the worker woken by what ends."""
        self._watcher = watcher
        watcher.watch(self._told.fileno())

    def room(self) -> tuple[int, Collection[str]]:
        """How many more jobs it would take now."""
        return self.slots - len(self._in_hand), ()

    def crowded(self) -> bool:
        """Never: nothing waits in here."""
        return False

    def put(self, jobs: Sequence[Job]) -> None:
        """Run these."""
        now = time.time()
        self._in_hand.update((job.receipt, now) for job in jobs)
        self._loop.call_soon_threadsafe(self._begin, jobs)

    def collect(self, ready: Collection[int]) -> list[Outcome]:
        """The runs that ended."""
        return [each for each in self._told.outcomes() if self._in_hand.pop(each.receipt, None)]

    def stop_run(self, receipt: str) -> None:
        """Cancel the run at its next `await`."""
        reason = Cancel("cancelled while it ran")
        self._loop.call_soon_threadsafe(self._stop, receipt, reason)

    def take_back(self) -> list[Outcome]:
        """Nothing: whatever was put has begun."""
        return []

    def tend(self) -> float:
        """Nothing to do."""
        return _REST

    def close(self) -> list[Outcome]:
        """Cancel what runs; what was cut off, as released."""
        self._closing = True
        deadline = time.monotonic() + self._grace
        for receipt in list(self._in_hand):
            self.stop_run(receipt)
        outcomes: list[Outcome] = []
        while self._in_hand and time.monotonic() < deadline:
            outcomes += self.collect(())
            time.sleep(0.001)
        self._watcher.unwatch(self._told.fileno())
        self._told.close()
        for receipt, began in self._in_hand.items():
            outcomes.append(_cut_off(receipt, began))
        self._in_hand.clear()
        return outcomes

    def _begin(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self._tasks[job.receipt] = self._loop.create_task(self._run(job))

    async def _run(self, job: Job) -> None:
        definition = registry.get(job.name)
        if definition is None or definition.is_async:
            outcome = await base.awaited(job, self._limits, self._reasons, self._stop)
        else:
            outcome = await asyncio.to_thread(base.run, job, self._limits)
        reason = self._reasons.pop(job.receipt, None)
        if self._closing and reason is not None:
            outcome = _cut_off(job.receipt, outcome.started)
        self._tasks.pop(job.receipt, None)
        self._told.tell(outcome)

    def _stop(self, receipt: str, reason: BaseException) -> None:
        task = self._tasks.get(receipt)
        if task is not None:
            self._reasons[receipt] = reason
            task.cancel()


def _cut_off(receipt: str, began: float) -> Outcome:
    said = "its worker stopped before it ended"
    return Outcome(receipt, "released", began, time.time(), error=said)
