"""Client: how to have a Redis client do something, be it blocking or awaiting, ours or the user's.

Any client with redis-py's interface will do: `execute_command` and `pipeline` are all that is
asked of it. Its replies come as bytes or as text; here they become text.
"""

import asyncio
import contextlib
import hashlib
import os
from collections.abc import Callable, Collection, Coroutine, Generator, Iterator, Sequence
from concurrent.futures import CancelledError
from functools import cache
from typing import Any, NamedTuple, NoReturn, Protocol, TypeVar

from liteq.errors import BrokerError, BrokerFull, BrokerReadOnly, BrokerUnavailable

Command = Sequence[str | bytes | int | float]
ScriptCall = tuple[str, Sequence[str], Command]  # name, keys, arguments
_Returned = TypeVar("_Returned")
_FOLDER = os.path.dirname(__file__)
_CONNECTIONS = 3  # the worker's, its heartbeat's, and one that waits for the bell
_UNREACHED = frozenset("ConnectionError TimeoutError BusyLoadingError OSError EOFError".split())
_NEVER_DECODE = {"NEVER_DECODE": True}  # redis-py's own option: replies come as they are


class Script(NamedTuple):
    """A Lua script, known to the server by its digest once it has run there."""

    source: str
    digest: str


class Client(Protocol):
    """A Redis client behind its blocking face. Raises BrokerError and its kinds."""

    def run(self, name: str, keys: Sequence[str], arguments: Command) -> Any:
        """What the script of that name returns, its texts decoded."""

    def run_all(self, calls: Sequence[ScriptCall]) -> list[Any]:
        """What these scripts return, one after the other, in one round trip."""

    def send(self, *command: Any) -> Any:
        """The reply to one command."""

    def send_all(self, commands: Sequence[Command]) -> list[Any]:
        """The replies to several commands, in one round trip and one step."""

    def close(self) -> None:
        """Let go of connections, if they are our own."""


@cache
def script(name: str) -> Script:
    """The script that lies beside this file."""
    with open(os.path.join(_FOLDER, f"{name}.lua"), encoding="utf-8") as file:
        source = file.read()
    return Script(source, hashlib.sha1(source.encode()).hexdigest())  # noqa: S324 - as Redis does


class Blocking:
    """A client that blocks, such as redis.Redis."""

    def __init__(self, client: Any, *, own: bool = False):
        self._client = client
        self._own = own
        self._ran: set[str] = set()  # names of scripts that the server knows

    def run(self, name: str, keys: Sequence[str], arguments: Command) -> Any:
        """What the script of that name returns, its texts decoded."""
        steps = _running(name, keys, arguments)
        command = next(steps)
        while True:
            try:
                reply = self._client.execute_command(*command, **_NEVER_DECODE)
            except Exception as error:
                command = steps.throw(error)
                continue
            self._ran.add(name)
            return text_of(reply)

    def run_all(self, calls: Sequence[ScriptCall]) -> list[Any]:
        """What these scripts return, one after the other, in one round trip."""
        if not _all_known(calls, self._ran):
            return [self.run(*call) for call in calls]
        try:
            pipeline = self._client.pipeline(transaction=False)
            for call in calls:
                pipeline.execute_command(*_by_digest(*call), **_NEVER_DECODE)
            replies = pipeline.execute(raise_on_error=False)
        except Exception as error:
            _raise(error)
        return [
            self.run(*call) if _is_forgotten(reply) else text_of(_good(reply))
            for call, reply in zip(calls, replies, strict=True)
        ]

    def send(self, *command: Any) -> Any:
        """The reply to one command."""
        try:
            reply = self._client.execute_command(*_wired(command), **_NEVER_DECODE)
            return text_of(reply)
        except Exception as error:
            _raise(error)

    def send_all(self, commands: Sequence[Command]) -> list[Any]:
        """The replies to several commands, in one round trip and one step."""
        try:
            pipeline = self._client.pipeline()
            for command in commands:
                pipeline.execute_command(*_wired(command))
            return [text_of(reply) for reply in pipeline.execute()]
        except Exception as error:
            _raise(error)

    def close(self) -> None:
        """Let go of connections, if they are our own."""
        if self._own:
            self._client.close()


class Awaiting:
    """A client that is awaited, such as redis.asyncio.Redis; the same verbs, as coroutines."""

    def __init__(self, client: Any):
        self._client = client
        self._ran: set[str] = set()  # names of scripts that the server knows

    async def run(self, name: str, keys: Sequence[str], arguments: Command) -> Any:
        """What the script of that name returns, its texts decoded."""
        steps = _running(name, keys, arguments)
        command = next(steps)
        while True:
            try:
                reply = await self._client.execute_command(*command, **_NEVER_DECODE)
            except Exception as error:
                command = steps.throw(error)
                continue
            self._ran.add(name)
            return text_of(reply)

    async def run_all(self, calls: Sequence[ScriptCall]) -> list[Any]:
        """What these scripts return, one after the other, in one round trip."""
        if not _all_known(calls, self._ran):
            return [await self.run(*call) for call in calls]
        try:
            pipeline = self._client.pipeline(transaction=False)
            for call in calls:
                queued = pipeline.execute_command(*_by_digest(*call), **_NEVER_DECODE)
                if asyncio.iscoroutine(queued):
                    await queued
            replies = await pipeline.execute(raise_on_error=False)
        except Exception as error:
            _raise(error)
        return [
            await self.run(*call) if _is_forgotten(reply) else text_of(_good(reply))
            for call, reply in zip(calls, replies, strict=True)
        ]

    async def send(self, *command: Any) -> Any:
        """The reply to one command."""
        try:
            reply = await self._client.execute_command(*_wired(command), **_NEVER_DECODE)
            return text_of(reply)
        except Exception as error:
            _raise(error)

    async def send_all(self, commands: Sequence[Command]) -> list[Any]:
        """The replies to several commands, in one round trip and one step."""
        try:
            pipeline = self._client.pipeline()
            for command in commands:
                queued = pipeline.execute_command(*_wired(command))
                if asyncio.iscoroutine(queued):
                    await queued
            return [text_of(reply) for reply in await pipeline.execute()]
        except Exception as error:
            _raise(error)


class Bridged:
    """The blocking face of a client that is awaited on somebody's event loop; for other threads."""

    def __init__(self, client: Any, loop: asyncio.AbstractEventLoop):
        self._client = Awaiting(client)
        self._loop = loop

    def run(self, name: str, keys: Sequence[str], arguments: Command) -> Any:
        """What the script of that name returns, its texts decoded."""
        return self._result(self._client.run(name, keys, arguments))

    def run_all(self, calls: Sequence[ScriptCall]) -> list[Any]:
        """What these scripts return, one after the other, in one round trip."""
        return self._result(self._client.run_all(calls))

    def send(self, *command: Any) -> Any:
        """The reply to one command."""
        return self._result(self._client.send(*command))

    def send_all(self, commands: Sequence[Command]) -> list[Any]:
        """The replies to several commands, in one round trip and one step."""
        return self._result(self._client.send_all(commands))

    def close(self) -> None:
        """Nothing: the client is the user's."""

    def _result(self, awaited: Coroutine[Any, Any, _Returned]) -> _Returned:
        try:
            return asyncio.run_coroutine_threadsafe(awaited, self._loop).result()
        except (RuntimeError, CancelledError) as error:  # it was closed before, or meanwhile
            awaited.close()
            raise BrokerUnavailable(
                f"the event loop of the Redis client is gone: {error}"
            ) from None


def text_of(reply: Any) -> Any:
    """The reply with its bytes as text; bytes that are no UTF-8 can be had back from it."""
    if isinstance(reply, bytes):
        return reply.decode("utf-8", "surrogateescape")
    if isinstance(reply, (list, tuple)):  # once or more for each job: `list | tuple` is slow
        return [text_of(each) for each in reply]
    return reply


def wire_bytes(text: str) -> bytes:
    """The bytes of a text that came from `text_of`."""
    return text.encode("utf-8", "surrogateescape")


def _running(
    name: str, keys: Sequence[str], arguments: Command
) -> Generator[tuple[Any, ...], None, None]:
    """The commands to try until one is answered; a client's error is thrown into it."""
    command = _by_digest(name, keys, arguments)
    try:
        yield command
    except Exception as error:
        if not _is_forgotten(error):
            _raise(error)
    try:
        yield ("EVAL", script(name).source, *command[2:])
    except Exception as error:
        _raise(error)


def _by_digest(name: str, keys: Sequence[str], arguments: Command) -> tuple[Any, ...]:
    return ("EVALSHA", script(name).digest, len(keys), *keys, *map(_wire, arguments))


def _all_known(calls: Sequence[ScriptCall], ran: Collection[str]) -> bool:
    """Whether the server knows all of these: then none will run before one that it does not."""
    return all(name in ran for name, _, _ in calls)


def _is_forgotten(reply: Any) -> bool:
    """Whether this is the error of a server that knows the script no more."""
    if not isinstance(reply, Exception):
        return False
    return "NOSCRIPT" in str(reply) or "NoScript" in type(reply).__name__


def _good(reply: Any) -> Any:
    """The reply of a pipeline. Raises it, if it is an error."""
    if isinstance(reply, Exception):
        _raise(reply)
    return reply


def _wired(command: Command) -> Iterator[Any]:
    name, *arguments = command  # a name in bytes is not known to a cluster's client
    yield name
    yield from map(_wire, arguments)


def _wire(value: Any) -> Any:
    """What a client makes the right bytes of."""
    return wire_bytes(value) if isinstance(value, str) and not value.isascii() else value


def _raise(error: Exception) -> NoReturn:
    translated = _translated(error)
    if translated is error:
        raise error
    raise translated from error


def _translated(error: Exception) -> Exception:
    """The client's error as one of ours; whatever is none of a client's, as it is."""
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if kinds & {"AuthenticationError", "AuthorizationError", "NoPermissionError"}:
        return BrokerUnavailable(f"Redis lets us not in; check user and password: {said}")
    if "OOM" in said or "OutOfMemoryError" in kinds:
        return BrokerFull(f"Redis has no memory left, nothing was stored: {said}")
    if "ReadOnlyError" in kinds:
        return BrokerReadOnly(f"this Redis is a replica that may only be read: {said}")
    if kinds & _UNREACHED or "cannot be connected" in said:  # so says a cluster's client
        return BrokerUnavailable(f"Redis cannot be reached: {said}")
    if "RedisError" in kinds or "RedisClusterException" in kinds:
        return BrokerError(f"Redis refused a command: {said}")
    return error


def connect(url: str, *, cluster: bool = False) -> Blocking:
    """A client of our own for a redis://, rediss:// or unix:// URL; connects when first used.

    Raises ImportError naming the extra if redis-py is not there, ValueError or TypeError for a
    URL that it cannot make sense of.
    """
    try:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError:
        raise ImportError('Redis needs redis-py: pip install "liteq[redis]"') from None
    # One new try mends a connection that the server has closed; longer faults are the worker's.
    retry = Retry(NoBackoff(), 1)
    options: dict[str, Any] = {"retry": retry, "health_check_interval": 0, "socket_timeout": 10}
    client = redis.Redis.from_url(url, **options)
    pool = client.connection_pool
    pool.connection_class(**pool.connection_kwargs)  # refuses now what it does not know
    if cluster:
        return Blocking(_Later(lambda: redis.RedisCluster.from_url(url, **options)), own=True)
    return Blocking(client, own=True)


class _Later:
    """A client that is made when it is first used: a cluster's would connect at once."""

    def __init__(self, make: Callable[[], Any]):
        self._make = make
        self._made: Any = None

    def __getattr__(self, name: str) -> Any:
        """The client's own verbs."""
        if self._made is None:
            self._made = self._make()
        return getattr(self._made, name)

    def close(self) -> None:
        """Let go of connections, if there are any."""
        if self._made is not None:
            self._made.close()


def blocking_seconds(client: Any) -> float:
    """How long a command may block without running into the client's own socket timeout.

    0: not at all, because the client has no connection to spare for that.
    """
    limit: Any = None
    with contextlib.suppress(AttributeError):
        if client.connection_pool.max_connections < _CONNECTIONS:
            return 0.0
        limit = client.connection_pool.connection_kwargs.get("socket_timeout")
    if getattr(client, "single_connection_client", False) or getattr(client, "connection", None):
        return 0.0
    return min(1.0, limit / 2) if isinstance(limit, int | float) and limit > 0 else 1.0
