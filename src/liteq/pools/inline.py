"""Inline: the pool that runs one job at a time in the worker's own thread, for `breakpoint()`.

While a job runs, the worker does nothing else: it stops no run (time limits and cancel are not
enforced), heeds a signal only when the job has ended, and sends no heartbeat. A job that takes
longer than the lease (30 s by default) counts as lost to other workers of the file; they run it
again, and this run's result is refused. To debug for longer, be the only worker, or set
LITEQ_LEASE=3600.
"""

import logging
from collections.abc import Collection, Sequence

from liteq import registry
from liteq.job import Job, Outcome
from liteq.pools import base
from liteq.pools.base import Limits, Watcher

logger = logging.getLogger("liteq.worker")

_REST = 60.0  # seconds; there is never anything to tend


class InlinePool:
    """Runs a job when it is put, before `put` returns."""

    name = "inline"
    slots = 1

    def __init__(self, limits: Limits):
        self._limits = limits._replace(memory_mb=0)
        self._ended: list[Outcome] = []

    def start(self, watcher: Watcher) -> None:
        """Nothing to start; say which limits nobody will enforce."""
        if self._limits.timeout or any(d.timeout for d in registry.definitions()):
            logger.warning("pool inline: time limits are not enforced; --pool processes does it")

    def room(self) -> tuple[int, Collection[str]]:
        """One at a time: what is claimed begins at once."""
        return (0 if self._ended else 1), ()

    def put(self, jobs: Sequence[Job]) -> None:
        """Run them, one after the other."""
        self._ended += [base.run(job, self._limits) for job in jobs]

    def collect(self, ready: Collection[int]) -> list[Outcome]:
        """The runs that ended."""
        ended, self._ended = self._ended, []
        return ended

    def crowded(self) -> bool:
        """Never: nothing waits in here."""
        return False

    def stop_run(self, receipt: str) -> None:
        """Too late: whatever was put has ended."""

    def take_back(self) -> list[Outcome]:
        """Nothing: whatever was put has begun."""
        return []

    def tend(self) -> float:
        """Nothing to do."""
        return _REST

    def close(self) -> list[Outcome]:
        """What ended last."""
        return self.collect(())
