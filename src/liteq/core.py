"""Core: `@task`, and what its calls become: a NewJob for the broker, an id for the caller.

How a job is run is the worker's and the pools' business.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypeVar, cast, overload

from liteq import backoff, brokers, records, registry, times
from liteq.backoff import RetryPolicy
from liteq.brokers.base import Awaiting, Store
from liteq.codec import Codec, check_size
from liteq.errors import BrokerError, JobNotFound, TaskCancelled, TaskFailed
from liteq.job import Filter, NewJob
from liteq.registry import Definition

if TYPE_CHECKING:  # for the signatures only: the memory broker's users need no sqlite3
    import sqlite3

_ANY_SIZE = 2**63
P = ParamSpec("P")
R = TypeVar("R")
Returned = TypeVar("Returned")

_awaiting: Awaiting | None = None


class JobId(int):
    """The id of a job: an int that can also be asked about it. It remembers its broker's URL.

    Made from a plain int, it asks the broker that LITEQ_URL or LITEQ_DB name at that moment.
    """

    url: str | None = None

    def status(self) -> str | None:
        """pending, running, done, failed or cancelled; None if the job is gone."""
        record = self._broker().get(self)
        return None if record is None else record.status

    def result(self, timeout: float | None = None) -> Any:
        """What the task returned, rebuilt by its return annotation; waits for the end of the job.

        Raises TaskFailed or TaskCancelled if it ended so, TimeoutError after `timeout` seconds,
        JobNotFound if there is no such job (any more).
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = 0.001
        while True:
            ended, value = self._look()
            if ended:
                return value
            self._check(deadline, timeout)
            time.sleep(pause)
            pause = min(pause * 1.5, 0.05)

    async def aresult(self, timeout: float | None = None) -> Any:
        """`result`, awaited; the event loop goes on meanwhile."""
        import asyncio

        deadline = None if timeout is None else time.monotonic() + timeout
        pause = 0.001
        while True:
            ended, value = await _awaited(self._look)
            if ended:
                return value
            self._check(deadline, timeout)
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.05)

    def cancel(self) -> bool:
        """Cancel the job if it is pending, have it stopped if it runs; whether it was either."""
        return self._broker().cancel(Filter(ids=(int(self),))) == 1

    def _broker(self) -> Store:
        return brokers.current() if self.url is None else brokers.connect(self.url)

    def _look(self) -> tuple[bool, Any]:
        broker = self._broker()
        record = broker.get(self)
        if record is None:
            raise JobNotFound(f"there is no job {int(self)} in {broker.url}")
        if record.status == "failed":
            raise TaskFailed(record.error or "no reason is on record")
        if record.status == "cancelled":
            raise TaskCancelled(record.error or f"job {int(self)} was cancelled")
        if record.status != "done":
            return False, None
        definition = registry.get(record.name)
        if definition is None:
            return True, records.as_dict(record)["result"]
        return True, definition.codec.result(record.result)

    def _check(self, deadline: float | None, timeout: float | None) -> None:
        if deadline is not None and time.monotonic() >= deadline:
            raise TimeoutError(
                f"job {int(self)} is {self.status()} after {timeout:g} seconds; "
                "is a worker running on its queue? (liteq doctor)"
            )


class Calls(Generic[P]):
    """The ways to queue a call of one task, with options for that call."""

    __slots__ = ("_codec", "_connection", "_definition", "_delay", "_template")

    def __init__(
        self,
        definition: Definition,
        template: NewJob,
        delay: float | None = None,
        connection: sqlite3.Connection | None = None,
    ):
        self._definition = definition
        self._codec = definition.codec
        self._template = template
        self._delay = delay
        self._connection = connection

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> JobId:
        """Queue a call; its id. When this returns, the job is stored.

        Raises InvalidArguments if the call could never run, EncodingError for what JSON cannot
        carry, BrokerError if it cannot be stored. Then nothing is.
        """
        broker = brokers.current()
        payload = self._codec.call_text(args, kwargs, broker.payload_limit)
        return self._stored(broker, self._new(broker, payload))

    async def adelay(self, *args: P.args, **kwargs: P.kwargs) -> JobId:
        """`delay`, awaited; the event loop is never blocked."""
        broker = brokers.current()
        return await _awaited(self._stored, broker, self._job(broker, args, kwargs))

    def schedule(
        self, run_at: datetime | str | timedelta, /, *args: P.args, **kwargs: P.kwargs
    ) -> JobId:
        """Queue a call that runs at `run_at`, or soon after, never before.

        A datetime or its ISO-8601 text (without a zone: local time), or a timedelta from now.
        Raises ValueError if it is none of these, and what `delay` raises.
        """
        broker = brokers.current()
        return self._stored(broker, self._job(broker, args, kwargs, run_at))

    async def aschedule(
        self, run_at: datetime | str | timedelta, /, *args: P.args, **kwargs: P.kwargs
    ) -> JobId:
        """`schedule`, awaited."""
        broker = brokers.current()
        return await _awaited(self._stored, broker, self._job(broker, args, kwargs, run_at))

    def job(self, *args: P.args, **kwargs: P.kwargs) -> NewJob:
        """The call as data, not stored: for `enqueue`, which stores many in one transaction."""
        payload = self._codec.call_text(args, kwargs, _ANY_SIZE)  # `enqueue` knows the limit
        if self._delay is not None:
            return self._new(brokers.current(), payload)
        name, _, queue, priority, max_retries, timeout, due, at_most_once = self._template
        return NewJob(name, payload, queue, priority, max_retries, timeout, due, at_most_once)

    def _job(
        self,
        broker: Store,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        run_at: datetime | str | timedelta | None = None,
    ) -> NewJob:
        payload = self._codec.call_text(args, kwargs, broker.payload_limit)
        job = self._new(broker, payload)
        if run_at is None:
            return job
        return job._replace(due=times.moment(run_at, broker.clock.wall()))

    def _new(self, broker: Store, payload: str) -> NewJob:
        name, _, queue, priority, max_retries, timeout, due, at_most_once = self._template
        if self._delay is not None:
            due = broker.clock.wall() + self._delay
        return NewJob(name, payload, queue, priority, max_retries, timeout, due, at_most_once)

    def _stored(self, broker: Store, job: NewJob) -> JobId:
        if self._connection is None:
            return _job_id(broker.enqueue((job,))[0], broker)
        return _job_id(_enqueue_on(broker, self._connection, (job,))[0], broker)


class Task(Calls[P], Generic[P, R]):
    """A function that can be queued. Calling it runs the function here and now."""

    # Made by functools.update_wrapper; named here for type checkers.
    __name__: str
    __wrapped__: Callable[P, R]

    def __init__(self, definition: Definition):
        super().__init__(
            definition,
            NewJob(
                definition.name,
                "",
                definition.queue,
                definition.priority,
                definition.max_retries,
                definition.timeout,
                None,
                definition.at_most_once,
            ),
        )
        functools.update_wrapper(cast(Any, self), definition.function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function here and now, without any queue."""
        return cast(R, self._definition.function(*args, **kwargs))

    def __repr__(self) -> str:
        """`<task send_email on queue emails>`."""
        return f"<task {self._definition.name} on queue {self._definition.queue}>"

    @property
    def name(self) -> str:
        """The name that its jobs carry."""
        return self._definition.name

    def options(
        self,
        *,
        queue: str | None = None,
        priority: int | None = None,
        delay: float | timedelta | None = None,
        max_retries: int | None = None,
        timeout: float | None = None,
    ) -> Calls[P]:
        """The same ways to queue a call, with other options; the task itself does not change.

        `delay` is in seconds, or a timedelta. Raises ValueError as the decorator does.
        """
        given: dict[str, Any] = {
            "queue": queue,
            "priority": priority,
            "max_retries": max_retries,
            "timeout": timeout,
        }
        template = self._template._replace(**{k: v for k, v in given.items() if v is not None})
        _check_options(template.queue, template.max_retries, template.priority, template.timeout)
        return Calls(self._definition, template, _seconds(delay))

    def using(self, connection: sqlite3.Connection) -> Calls[P]:
        """Queue inside the transaction that is open on the caller's connection to the same file.

        Its commit keeps both, its rollback drops both. The job starts within half a second of the
        commit. Raises BrokerError if the broker is no SQLite file, or another one.
        """
        return Calls(self._definition, self._template, None, connection)


@overload
def task(function: Callable[P, R], /) -> Task[P, R]: ...


@overload
def task(
    *,
    queue: str = "default",
    max_retries: int = 3,
    name: str | None = None,
    timeout: float | None = None,
    priority: int = 0,
    retry: RetryPolicy = backoff.DEFAULT,
    acks: Literal["late", "early"] = "late",
) -> Callable[[Callable[P, R]], Task[P, R]]: ...


def task(
    function: Callable[P, R] | None = None,
    /,
    *,
    queue: str = "default",
    max_retries: int = 3,
    name: str | None = None,
    timeout: float | None = None,
    priority: int = 0,
    retry: RetryPolicy = backoff.DEFAULT,
    acks: Literal["late", "early"] = "late",
) -> Task[P, R] | Callable[[Callable[P, R]], Task[P, R]]:
    """Make a task of a plain or `async def` function; it can still be called directly.

    `max_retries` more runs may follow the first, waits between them by `retry`. A run that takes
    longer than `timeout` seconds is stopped. Higher `priority` runs first. With `acks="early"` a
    run that is lost with its worker is not repeated: at most once instead of at least once.
    `name` is the function's, if not given. Raises ValueError for options that make no sense,
    DuplicateTask if another module's function has the name.
    """

    def decorate(function: Callable[P, R]) -> Task[P, R]:
        return _made(function, queue, max_retries, name, timeout, priority, retry, acks)

    return decorate if function is None else decorate(function)


def get_task_status(task_id: int) -> dict[str, Any] | None:
    """All that is stored of the job, its result decoded; None if there is no such job."""
    record = brokers.current().get(int(task_id))
    return None if record is None else records.as_dict(record)


def enqueue(jobs: Iterable[NewJob], *, using: sqlite3.Connection | None = None) -> list[JobId]:
    """Store many calls, made with `task.job(…)`, in one transaction; their ids, in order.

    With `using`, in the caller's own transaction on a connection to the same file. Raises
    BrokerError if they cannot be stored; then none is.
    """
    broker = brokers.current()
    batch = _batch(jobs, broker.payload_limit)
    if using is None:
        ids = broker.enqueue(batch)
    else:
        ids = _enqueue_on(broker, using, batch)
    return _job_ids(ids, broker)


async def aenqueue(jobs: Iterable[NewJob]) -> list[JobId]:
    """`enqueue`, awaited; the event loop is never blocked."""
    broker = brokers.current()
    batch = _batch(jobs, broker.payload_limit)
    return _job_ids(await _awaited(broker.enqueue, batch), broker)


def _batch(jobs: Iterable[NewJob], limit: int) -> Sequence[NewJob]:
    """The jobs, none of them larger than the limit."""
    batch = jobs if isinstance(jobs, Sequence) else list(jobs)
    for job in batch:
        if len(job.payload) * 4 > limit:  # a character has at most four bytes
            check_size(f"the arguments of a call of task {job.name!r}", job.payload, limit)
    return batch


def _made(
    function: Callable[P, R],
    queue: str,
    max_retries: int,
    name: str | None,
    timeout: float | None,
    priority: int,
    retry: RetryPolicy,
    acks: str,
) -> Task[P, R]:
    if isinstance(function, Task) or not callable(function):
        raise ValueError(f"@task needs a plain function, not {function!r}")
    _check_options(queue, max_retries, priority, timeout)
    if acks not in ("late", "early"):
        raise ValueError(f"acks={acks!r}: use 'late' (at least once) or 'early' (at most once)")
    definition = Definition(
        name=name or function.__name__,
        function=function,
        is_async=_is_async(function),
        queue=queue,
        max_retries=max_retries,
        timeout=timeout,
        priority=priority,
        retry=retry,
        at_most_once=acks == "early",
        codec=Codec(function),
    )
    registry.register(definition)
    return Task(definition)


def _is_async(function: Callable[..., Any]) -> bool:
    """inspect.iscoroutinefunction without the import of inspect: flag CO_COROUTINE."""
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    code = getattr(function, "__code__", None)
    return bool(code and code.co_flags & 0x80)


def _check_options(queue: str, max_retries: int, priority: int, timeout: float | None) -> None:
    if not isinstance(queue, str) or not queue or "," in queue:
        raise ValueError(f"queue={queue!r} must be a name without a comma")
    if not isinstance(max_retries, int) or max_retries < 0:
        raise ValueError(f"max_retries={max_retries!r} must be 0 or more")
    if not isinstance(priority, int) or not -(2**63) <= priority < 2**63:
        raise ValueError(f"priority={priority!r} must be a whole number of at most 63 bits")
    if timeout is not None and not 0 < timeout < float("inf"):
        raise ValueError(f"timeout={timeout!r} must be more than 0 seconds, or None for no limit")


def _seconds(delay: float | timedelta | None) -> float | None:
    if delay is None:
        return None
    seconds = delay.total_seconds() if isinstance(delay, timedelta) else float(delay)
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"delay={delay!r} must be 0 or more seconds")
    return seconds


def _enqueue_on(broker: Store, connection: sqlite3.Connection, jobs: Sequence[NewJob]) -> list[int]:
    verb = getattr(broker, "enqueue_on", None)
    if verb is None:
        raise BrokerError(f"{broker.url} cannot take part in a transaction of the caller's")
    return cast("list[int]", verb(connection, jobs))


def _job_id(id: int, broker: Store) -> JobId:
    job_id = JobId(id)
    job_id.url = broker.url
    return job_id


def _job_ids(ids: Iterable[int], broker: Store) -> list[JobId]:
    url, job_ids = broker.url, [JobId(id) for id in ids]
    for job_id in job_ids:
        job_id.url = url
    return job_ids


async def _awaited(verb: Callable[..., Returned], *arguments: Any) -> Returned:
    global _awaiting
    if _awaiting is None:
        _awaiting = Awaiting()
    return await cast(Awaitable[Returned], _awaiting.call(verb, *arguments))
