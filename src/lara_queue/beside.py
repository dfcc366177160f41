"""Beside: plain handlers of an `AsyncQueue`, run beside its event loop: in threads or processes."""

import asyncio
import multiprocessing
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Any

Plain = Callable[[dict[str, Any]], Any]


async def in_thread(function: Plain, message: dict[str, Any]) -> Any:
    """What the function returns, run in a thread of the loop's."""
    return await asyncio.to_thread(function, message)


def check_importable(function: Plain) -> None:
    """Raise ValueError for a function that another process cannot find."""
    try:
        pickle.dumps(function)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            f"handler {getattr(function, '__qualname__', function)!r} cannot run in another "
            f"process ({error}); define it at the top of a module"
        ) from None


class InProcesses:
    """Runs functions in `number` processes, for work that would hold Python's lock.

    They are started afresh, so a function must be importable. One that is told to stop, at its
    time limit for example, goes on there until it ends; its result is not waited for.
    """

    def __init__(self, number: int):
        self._idle: asyncio.LifoQueue[ProcessPoolExecutor] = asyncio.LifoQueue()
        for _ in range(number):
            self._idle.put_nowait(_process())

    async def __call__(self, function: Plain, message: dict[str, Any]) -> Any:
        """What the function returns. Raises BrokenProcessPool if its process dies."""
        process = await self._idle.get()
        running = asyncio.get_running_loop().run_in_executor(process, function, message)
        # Also when nobody waits for it any more: the process is free when the function has ended.
        running.add_done_callback(partial(self._ended, process))
        return await asyncio.shield(running)

    def close(self) -> None:
        """End the processes once they have nothing to do."""
        while not self._idle.empty():
            self._idle.get_nowait().shutdown(wait=False)

    def _ended(self, process: ProcessPoolExecutor, running: "asyncio.Future[Any]") -> None:
        died = not running.cancelled() and isinstance(running.exception(), BrokenProcessPool)
        self._idle.put_nowait(_process() if died else process)


def _process() -> ProcessPoolExecutor:
    """One process, started when it is needed, so that the death of one is the end of one job."""
    # Not fork: this process has threads, and a fork would copy their locks.
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
