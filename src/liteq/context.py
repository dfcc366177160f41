"""Context: what a running task may ask about its own job. Set by the pools, read by the user.

from liteq import context

@task()
def export(path: str) -> None:
    context.logger.info("attempt %d of %d", context.attempt, context.max_retries + 1)
"""

import time
from collections.abc import MutableMapping
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:  # logging costs 9 ms to import; only a task that logs pays it
    import logging


class Running(NamedTuple):
    """The facts of one run."""

    id: int
    name: str
    queue: str
    attempt: int
    max_retries: int
    deadline: float | None


running: ContextVar[Running] = ContextVar("liteq_running")


class Context:
    """The job that is running here and now, in this thread or coroutine.

    Each attribute raises RuntimeError outside of a task.
    """

    @property
    def id(self) -> int:
        """The job's id."""
        return self._facts().id

    @property
    def name(self) -> str:
        """The task's name."""
        return self._facts().name

    @property
    def queue(self) -> str:
        """The queue that the job came from."""
        return self._facts().queue

    @property
    def attempt(self) -> int:
        """This run's number, from 1."""
        return self._facts().attempt

    @property
    def max_retries(self) -> int:
        """How many more runs the first one may be followed by."""
        return self._facts().max_retries

    @property
    def deadline(self) -> float | None:
        """When the run will be stopped, in seconds since the epoch; None: no time limit."""
        return self._facts().deadline

    @property
    def remaining(self) -> float | None:
        """Seconds until the deadline, at least 0; None: no time limit."""
        deadline = self.deadline
        return None if deadline is None else max(0.0, deadline - time.time())

    @property
    def logger(self) -> "logging.LoggerAdapter[logging.Logger]":
        """A logger named `liteq.task.<name>` whose records carry job, attempt and queue."""
        import logging

        facts = self._facts()
        about = {"job": facts.id, "attempt": facts.attempt, "queue": facts.queue}
        return _adapter()(logging.getLogger(f"liteq.task.{facts.name}"), about)

    def __bool__(self) -> bool:
        """Whether a job is running here."""
        return running.get(None) is not None

    def _facts(self) -> Running:
        facts = running.get(None)
        if facts is None:
            raise RuntimeError("liteq.context is only known inside a running task")
        return facts


@cache
def _adapter() -> "type[logging.LoggerAdapter[logging.Logger]]":
    import logging

    class TaskLogger(logging.LoggerAdapter):  # type: ignore[type-arg]  # from Python 3.11 on
        """Adds the job to each record, and keeps the caller's own `extra`."""

        def process(
            self, msg: Any, kwargs: MutableMapping[str, Any]
        ) -> tuple[Any, MutableMapping[str, Any]]:
            extra = {**(self.extra or {}), **(kwargs.get("extra") or {})}
            return msg, {**kwargs, "extra": extra}

    return TaskLogger


context = Context()
