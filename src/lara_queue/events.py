"""Events: functions that are called when something happens to a job.

    @queue.on("failed")
    def tell(event): print(event["name"], event["error"])

There are `processing`, `processed`, `retrying` and `failed`; each gets a dict with name, uuid,
queue and attempt, and, once the run has ended, seconds and error.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

logger = logging.getLogger("lara_queue")

EVENTS = ("processing", "processed", "retrying", "failed")
_Function = TypeVar("_Function", bound=Callable[..., Any])


class EventEmitter:
    """Calls its listeners one after the other, where the event happens.

    A listener that raises is logged; neither its fellows nor the job notice.
    """

    def __init__(self) -> None:
        self._listeners: dict[str, list[Callable[..., Any]]] = {}

    @overload
    def on(self, event: str) -> Callable[[_Function], _Function]: ...

    @overload
    def on(self, event: str, listener: _Function) -> _Function: ...

    def on(
        self, event: str, listener: _Function | None = None
    ) -> _Function | Callable[[_Function], _Function]:
        """Call `listener` at each such event; also as a decorator. Several may listen."""

        def listen(listener: _Function) -> _Function:
            self._listeners.setdefault(event, []).append(listener)
            return listener

        return listen if listener is None else listen(listener)

    def once(self, event: str, listener: Callable[..., Any]) -> None:
        """Call `listener` at the next such event only."""

        def only_once(*args: Any) -> Any:
            self.remove_listener(event, only_once)
            return listener(*args)

        self.on(event, only_once)

    def remove_listener(self, event: str, listener: Callable[..., Any]) -> None:
        """Call it no more. Raises ValueError if it does not listen."""
        self._listeners.get(event, []).remove(listener)

    def listeners(self, event: str) -> list[Callable[..., Any]]:
        """Those that listen for the event, in order."""
        return list(self._listeners.get(event, ()))

    def emit(self, event: str, *args: Any) -> bool:
        """Call all that listen; whether there was one."""
        listeners = self.listeners(event)
        for listener in listeners:
            try:
                self._call(event, listener, args)
            except Exception:
                logger.exception("a listener for %r has failed", event)
        return bool(listeners)

    def _call(self, event: str, listener: Callable[..., Any], args: tuple[Any, ...]) -> None:
        listener(*args)


class AsyncIOEventEmitter(EventEmitter):
    """The same for programs with an event loop: listeners may be coroutine functions too.

    Those are started at once and run beside all else; `await wait()` waits for them.
    """

    def __init__(self) -> None:
        super().__init__()
        self._running: set[asyncio.Task[None]] = set()

    async def wait(self) -> None:
        """Until all listeners that were started have ended."""
        while self._running:
            await asyncio.gather(*self._running)

    def _call(self, event: str, listener: Callable[..., Any], args: tuple[Any, ...]) -> None:
        started = listener(*args)
        if asyncio.iscoroutine(started) or isinstance(started, asyncio.Future):
            task = asyncio.get_running_loop().create_task(_watched(event, started))
            self._running.add(task)
            task.add_done_callback(self._running.discard)


async def _watched(event: str, started: Awaitable[Any]) -> None:
    try:
        await started
    except Exception:
        logger.exception("a listener for %r has failed", event)
