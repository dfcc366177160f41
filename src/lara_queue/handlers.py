"""Handlers: the functions that run jobs, and how a job finds its own.

A handler gets `{"name": "App\\\\Jobs\\\\X", "data": {…}}`. Whatever it returns is dropped; whatever
it raises is a failed attempt.
"""

import functools
import inspect
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, NamedTuple

from liteq import registry
from liteq.backoff import RetryPolicy
from liteq.brokers.laravel.routes import UniqueId, names_of, unique_id_of
from liteq.brokers.laravel.site import Route
from liteq.codec import Codec
from liteq.errors import TaskNotFound
from liteq.laravel import payload
from liteq.laravel.encryption import Encrypter
from liteq.laravel.payload import Envelope
from liteq.registry import Definition

_MOST_ROUTED = 256  # payloads that are kept from their routing to their run, read already;
_SMALL = 16 * 1024  # and characters of one: together some megabytes. All others are read again
Handler = Callable[[dict[str, Any]], Any]
Beside = Callable[[Handler, dict[str, Any]], Awaitable[Any]]


class _Known(NamedTuple):
    function: Handler
    unique_id: UniqueId | None


class Handlers:
    """The handlers of one queue, by job class; one of them may be for all other classes."""

    def __init__(
        self, queue: str, max_retries: int, retry: RetryPolicy, encrypter: Encrypter | None
    ):
        self._queue = queue
        self._max_retries = max_retries
        self._retry = retry
        self._encrypter = encrypter
        self._known: dict[str | None, _Known] = {}  # by class; None: for all others
        self._names: dict[str | None, str] = {}  # in the registry, while they are in it
        self._nobody = ""
        self._routed: dict[str, Envelope] = {}  # by body: read here, and not run yet

    def add(self, function: Handler, name: str | None, unique_id: UniqueId | None) -> None:
        """Have this function run jobs of a class, or (None) of all that have no handler.

        Raises ValueError for what is no function, or a second handler for the same.
        """
        if not callable(function):
            raise ValueError(f"a handler must be a function, not {function!r}")
        if name in self._known and self._known[name].function is not function:
            whose = f"jobs of {name}" if name else "all jobs"
            other = getattr(self._known[name].function, "__name__", "another function")
            raise ValueError(f"queue {self._queue} has a handler for {whose} already: {other}")
        self._known[name] = _Known(function, unique_id)

    def __bool__(self) -> bool:
        """Whether there is one."""
        return bool(self._known)

    def all(self) -> list[Handler]:
        """The functions."""
        return [known.function for known in self._known.values()]

    def plain(self) -> list[Handler]:
        """Those that are no coroutine functions."""
        return [each for each in self.all() if not inspect.iscoroutinefunction(each)]

    def open(self, beside: Beside | None = None) -> None:
        """Make them known to the worker's pools; with `beside` as coroutines, plain ones by it."""
        for name, known in self._known.items():
            function: Handler = known.function
            if beside is not None and not inspect.iscoroutinefunction(function):
                function = _awaited(function, beside)
            self._names[name] = self._register(name or "any job", function, HandlerCodec)
        self._nobody = self._register("no handler", _never, _NobodyCodec)

    def close(self) -> None:
        """Take them out again."""
        for name in (*self._names.values(), self._nobody):
            registry.forget(name)
        self._names.clear()
        self._routed.clear()

    def route(self, envelope: Envelope, body: str) -> Route:
        """The handler of a job."""
        if len(self._routed) >= _MOST_ROUTED:  # of jobs that ran elsewhere, or were given back
            self._routed.clear()
        if len(body) <= _SMALL:
            self._routed[body] = envelope
        for name in (*names_of(envelope), None):
            known = self._known.get(name)
            if known is not None:
                unique_id = known.unique_id or unique_id_of(envelope.name)
                return Route(self._names[name], body, self._max_retries, unique_id)
        return Route(self._nobody, body, self._max_retries)

    def classes(self) -> str:
        """The job classes that have a handler, for messages."""
        return ", ".join(sorted(str(name) for name in self._known))

    def _register(self, name: str, function: Handler, codec: "type[HandlerCodec]") -> str:
        taken = {definition.name for definition in registry.definitions()}
        label = f"{name} [{self._queue}]"
        number = 2
        while label in taken:  # another queue object in this process
            label, number = f"{name} [{self._queue} {number}]", number + 1
        registry.register(
            Definition(
                name=label,
                function=function,
                is_async=inspect.iscoroutinefunction(function),
                queue="default",
                max_retries=self._max_retries,
                timeout=None,
                priority=0,
                retry=self._retry,
                at_most_once=False,
                codec=codec(function, _Reader(self._encrypter, self.classes(), self._routed)),
            )
        )
        return label


class _Reader(NamedTuple):
    """What it takes to read a payload, in another process too."""

    encrypter: Encrypter | None
    handled: str  # the classes that have a handler, for messages
    routed: dict[str, Envelope]  # by body: read in this process, and not run yet

    def message(self, body: str) -> dict[str, Any]:
        """What a handler gets. Raises UnreadablePayload."""
        envelope = self.routed.pop(body, None) or payload.read(body)
        return {"name": envelope.name, "data": payload.data_of(envelope, self.encrypter)}


class HandlerCodec(Codec):
    """Turns a Laravel payload into a handler's argument, in the process where the handler runs."""

    __slots__ = ("_reader",)

    portable = True  # handlers are registered while a queue listens, not by import

    def __init__(self, function: Handler, reader: _Reader):
        super().__init__(function)
        self._reader = reader

    def call(self, payload: str | None) -> tuple[list[Any], dict[str, Any]]:
        """The message, as the one argument. Raises UnreadablePayload."""
        return [self._reader.message(payload or "")], {}

    def result_text(self, value: Any, limit: int) -> str:
        """Nothing: Laravel keeps no results."""
        return "null"


class _NobodyCodec(HandlerCodec):
    """For jobs that nobody handles: says so."""

    __slots__ = ()

    def call(self, payload: str | None) -> tuple[list[Any], dict[str, Any]]:
        """Raises TaskNotFound naming the class and those that are handled."""
        name = self._reader.message(payload or "")["name"]
        raise TaskNotFound(
            f"no handler for {name} (handled: {self._reader.handled}); add "
            f"@queue.handler({name!r}), or dispatch it to a queue that its own workers read"
        )


def _awaited(function: Handler, beside: Beside) -> Handler:
    """A plain function, to be awaited."""

    @functools.wraps(function)
    async def run(message: dict[str, Any]) -> Any:
        returned = await beside(function, message)
        return await returned if inspect.isawaitable(returned) else returned

    with suppress(AttributeError):
        del run.__wrapped__  # or it would count as the plain function that it wraps
    return run


def _never(message: dict[str, Any]) -> None:
    """Stands for the handler that is missing."""
