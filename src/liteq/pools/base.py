"""What a pool is, and how one run of one job goes: call in, Outcome out.

When a run is stopped and by whom is the pools' business; what becomes of the job, lifecycle's.
"""

import random
import time
import traceback
from collections.abc import Callable, Collection, MutableMapping, Sequence
from typing import Any, NamedTuple, Protocol

from liteq import registry
from liteq.context import Running, running
from liteq.errors import Cancel, LiteqError, Retry, TaskTimeout, UnreadablePayload
from liteq.job import Job, Outcome
from liteq.registry import Definition

_LONGEST_TRACEBACK = 64 * 1024  # characters; the end of it says most
_LONGEST_ERROR = 1000


class Limits(NamedTuple):
    """What every run is held to."""

    timeout: float | None  # seconds, for jobs that name none themselves
    result: int  # bytes
    memory_mb: int = 0  # of the process; 0: no limit


class Watcher(Protocol):
    """The worker's selector, as a pool sees it."""

    def watch(self, descriptor: int, write: bool = False) -> None:
        """Wake the worker when this may be read, or else written."""

    def unwatch(self, descriptor: int) -> None:
        """No longer."""


class Pool(Protocol):
    """Runs jobs side by side. All its methods are called from the worker's own thread."""

    name: str  # of what runs them, for the log
    slots: int  # how many jobs run side by side, of one kind

    def start(self, watcher: Watcher) -> None:
        """Get ready to run jobs."""

    def room(self) -> tuple[int, Collection[str]]:
        """How many more jobs it would take now, and task names of which it wants none."""

    def crowded(self) -> bool:
        """Whether jobs have been waiting in here, in vain, since the last call."""

    def put(self, jobs: Sequence[Job]) -> None:
        """Run these, in this order as slots get free."""

    def collect(self, ready: Collection[int]) -> list[Outcome]:
        """The runs that ended; never blocks. `ready`: the descriptors that woke the worker."""

    def stop_run(self, receipt: str) -> None:
        """Stop this run: first by an exception in the task, then, if it can, by force."""

    def take_back(self) -> list[Outcome]:
        """What has not begun, as released; it will not run here."""

    def tend(self) -> float:
        """Enforce limits, replace what died; seconds until it wants to be called again."""

    def close(self) -> list[Outcome]:
        """Stop everything at once; what was cut off, as released."""


class Call(NamedTuple):
    """A job, made ready to run."""

    job: Job
    definition: Definition
    args: list[Any]
    kwargs: dict[str, Any]
    started: float
    deadline: float | None


def prepare(job: Job, limits: Limits) -> Call | Outcome:
    """The call that the job stands for, or the failure to make one."""
    started = time.time()
    try:
        definition = registry.find(job.name)
        args, kwargs = definition.codec.call(job.payload)
    except LiteqError as error:
        final = isinstance(error, UnreadablePayload)
        now = time.time()
        return Outcome(job.receipt, "failed", started, now, error=_line(error), final=final)
    timeout = job.timeout or limits.timeout
    return Call(job, definition, args, kwargs, started, started + timeout if timeout else None)


def run(job: Job, limits: Limits) -> Outcome:
    """Run the job here and now, in this thread, without a time limit of its own."""
    call = prepare(job, limits)
    return call if isinstance(call, Outcome) else ran(call, limits)


def ran(call: Call, limits: Limits) -> Outcome:
    """Run what was prepared, as `run`."""
    if call.definition.is_async:
        import asyncio

        return asyncio.run(arun(call, limits))
    return finished(call, limits, lambda: call.definition.function(*call.args, **call.kwargs))


async def awaited(
    job: Job,
    limits: Limits,
    reasons: MutableMapping[str, BaseException],
    stop: Callable[[str, BaseException], None],
) -> Outcome:
    """Await the job, as one of many; `stop(receipt, reason)` is called at its time limit."""
    import asyncio

    call = prepare(job, limits)
    if isinstance(call, Outcome):
        return call
    limit = job.timeout or limits.timeout
    if not limit:
        return await arun(call, limits, reasons)
    loop = asyncio.get_running_loop()
    alarm = loop.call_later(limit, stop, job.receipt, over_time(limit))
    try:
        return await arun(call, limits, reasons)
    finally:
        alarm.cancel()


async def arun(
    call: Call, limits: Limits, reasons: MutableMapping[str, BaseException] | None = None
) -> Outcome:
    """Await the call. `reasons` says, by receipt, for what its asyncio task was cancelled."""
    running.set(_facts(call))
    try:
        value = await call.definition.function(*call.args, **call.kwargs)
    except BaseException as error:
        reason = (reasons or {}).get(call.job.receipt)
        if reason is not None and type(error).__name__ == "CancelledError":
            return failure(call, limits, reason.with_traceback(error.__traceback__))
        return failure(call, limits, error)
    return _success(call, limits, value)


def finished(call: Call, limits: Limits, function: Callable[[], Any]) -> Outcome:
    """Run the function and tell how it ended. Here stands the project's one catch-all."""
    token = running.set(_facts(call))
    try:
        value = function()
    except BaseException as error:
        return failure(call, limits, error)
    finally:
        running.reset(token)
    return _success(call, limits, value)


def failure(call: Call, limits: Limits, error: BaseException) -> Outcome:
    """What this exception says of the run."""
    ended = time.time()
    receipt, started = call.job.receipt, call.started
    if isinstance(error, Cancel):
        return Outcome(receipt, "cancelled", started, ended, error=_line(error))
    if isinstance(error, Retry):
        return Outcome(receipt, "retry", started, ended, error=_line(error), after=error.after)
    policy = call.definition.retry
    if isinstance(error, MemoryError) and limits.memory_mb:
        about = f"{error or 'out of memory'} (memory_limit_mb={limits.memory_mb})"
        error = MemoryError(about).with_traceback(error.__traceback__)
    return Outcome(
        receipt,
        "timeout" if isinstance(error, TaskTimeout) else "failed",
        started,
        ended,
        error=_line(error),
        traceback=_text(error),
        after=_custom_wait(call),
        final=not policy.deserves(error),
    )


def over_time(limit: float | None) -> TaskTimeout:
    """The error of a run that took too long."""
    seconds = "1 second" if limit == 1 else f"{limit or 0:g} seconds"
    return TaskTimeout(f"stopped after {seconds}, its time limit")


def _success(call: Call, limits: Limits, value: Any) -> Outcome:
    try:
        text = call.definition.codec.result_text(value, limits.result)
    except LiteqError as error:
        return failure(call, limits, error)
    return Outcome(call.job.receipt, "done", call.started, time.time(), text)


def _facts(call: Call) -> Running:
    job = call.job
    return Running(job.id, job.name, job.queue, job.attempt, job.max_retries, call.deadline)


def _custom_wait(call: Call) -> float | None:
    """A wait by the user's own function is worked out here, where it can do no harm."""
    policy = call.definition.retry
    if not callable(policy.strategy):
        return None
    try:
        return policy.wait(call.job.attempt, random.random())
    except Exception:
        return None


def _line(error: BaseException) -> str:
    """The error in one line, as a person would say it: `ValueError: no such user`."""
    try:
        said = str(error)
    except Exception:
        said = "(its text cannot be had)"
    text = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return text.split("\n", 1)[0][:_LONGEST_ERROR]


def _text(error: BaseException) -> str:
    """The traceback, without our own frames around the user's function: they say nothing."""
    report = traceback.TracebackException(type(error), error, error.__traceback__)
    report.stack[:] = [frame for frame in report.stack if not frame.filename.startswith(_HERE)]
    return "".join(report.format())[-_LONGEST_TRACEBACK:]


_HERE = __file__.rpartition("pools")[0] + "pools"
