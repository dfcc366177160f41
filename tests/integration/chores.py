"""The app of the worker tests: tasks that behave, and tasks that do not."""

import asyncio
import ctypes
import itertools
import os
import re
import signal
import sys
import time
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta

from liteq import Cancel, Retry, RetryPolicy, context, task
from liteq.errors import TaskTimeout

SOON = RetryPolicy("fixed", first=0.2, jitter=0.0)
FOR_EVER = 100.0  # seconds; far longer than any test waits


@dataclass
class Order:
    number: int
    placed: datetime


def tell(path, text):
    """Add a line; one write, so lines of different processes do not mix."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, f"{text}\n".encode())
    finally:
        os.close(descriptor)


# ── that end well ──


@task()
def add(a: int, b: int) -> int:
    return a + b


@task()
async def add_async(a: int, b: int) -> int:
    await asyncio.sleep(0.01)
    return a + b


@task(retry=SOON)
def stand_by() -> str:
    return "unharmed"


@task(retry=SOON)
async def stand_by_async() -> str:
    await asyncio.sleep(0.01)
    return "unharmed"


@task()
def postponed(order: Order, by: timedelta) -> Order:
    return Order(order.number, order.placed + by)


@task()
def length(text: str) -> int:
    return len(text)


@task()
def repeat(text: str, times: int) -> str:
    return text * times


@task()
def say(text: str) -> None:
    print(text)


@task()
def whereabouts() -> dict[str, object]:
    with_limit = context.remaining is not None
    context.logger.info("here")
    return {
        "id": context.id,
        "name": context.name,
        "queue": context.queue,
        "attempt": context.attempt,
        "limit": with_limit,
        "pid": os.getpid(),
    }


@task()
def pid() -> int:
    return os.getpid()


@task()
def note(path: str, text: str) -> None:
    tell(path, text)


@task()
async def note_async(path: str, text: str) -> None:
    tell(path, text)


@task(queue="other")
def note_other(path: str, text: str) -> None:
    tell(path, text)


@task()
def now() -> float:
    return time.time()


@task()
def nap(path: str, seconds: float, text: str = "") -> str:
    """Tells when it begins and when it ends."""
    tell(path, f"begin {text or context.id}")
    time.sleep(seconds)
    tell(path, f"end {text or context.id}")
    return text


@task()
async def nap_async(path: str, seconds: float, text: str = "") -> str:
    tell(path, f"begin {text or context.id}")
    await asyncio.sleep(seconds)
    tell(path, f"end {text or context.id}")
    return text


@task(acks="early")
def nap_once(path: str, seconds: float) -> None:
    tell(path, f"begin {context.id}")
    time.sleep(seconds)
    tell(path, f"end {context.id}")


# ── that fail ──


@task(retry=SOON)
def fail(message: str, path: str = "") -> None:
    if path:
        tell(path, f"{time.time()}")
    raise ValueError(message)


@task(retry=SOON)
async def fail_async(message: str) -> None:
    raise ValueError(message)


@task(retry=SOON)
def fail_until(attempt: int) -> int:
    if context.attempt < attempt:
        raise RuntimeError(f"not on attempt {context.attempt}")
    return context.attempt


@task(retry=RetryPolicy(lambda attempt: 0.1 * attempt, jitter=0.0), max_retries=2)
def fail_with_own_waits(path: str) -> None:
    tell(path, f"{time.time()}")
    raise ValueError("no")


@task(retry=RetryPolicy("fixed", 0.01, never=(KeyError,)))
def fail_hopelessly() -> None:
    raise KeyError("no such user")


@task()
def ask_again(path: str, after: float) -> str:
    tell(path, f"{time.time()}")
    if context.attempt == 1:
        raise Retry("not ready", after=after)
    return "ready"


@task(max_retries=1)
def ask_for_ever() -> None:
    raise Retry("never ready", after=0.01)


@task()
def give_up() -> None:
    raise Cancel("nothing to do")


@task(max_retries=0)
def return_something_odd() -> object:
    return object()


@task(max_retries=0)
def return_too_much() -> str:
    return "x" * 2_000_000


@task(max_retries=0)
def leave() -> None:
    sys.exit("enough")


@task(max_retries=0)
def interrupt() -> None:
    raise KeyboardInterrupt


@task(max_retries=0)
def dig() -> None:
    dig.__wrapped__()


class Mute(Exception):
    def __str__(self):
        raise RuntimeError("even this")


@task(max_retries=0)
def fail_mutely() -> None:
    raise Mute


# ── that hang ──


@task(max_retries=0)
def hang(path: str) -> None:
    tell(path, "begin")
    time.sleep(FOR_EVER)


@task(max_retries=0)
def spin(path: str) -> None:
    tell(path, "begin")
    while True:
        pass


@task(max_retries=0)
def spin_in_c(path: str) -> None:
    tell(path, "begin")
    re.match(r"(a+)+$", "a" * 64 + "b")  # exponential, and never lets go of the GIL


@task(max_retries=0)
def spin_deaf(path: str) -> None:
    tell(path, "begin")
    deque(itertools.repeat(0), maxlen=0)  # in C, keeps the GIL and never looks for signals


@task(max_retries=0)
async def hang_async(path: str) -> None:
    tell(path, "begin")
    await asyncio.sleep(FOR_EVER)


@task(max_retries=0)
async def hang_in_a_thread(path: str) -> None:
    tell(path, "begin")
    await asyncio.to_thread(time.sleep, FOR_EVER)


@task(max_retries=0)
async def block_the_loop(path: str) -> None:
    tell(path, "begin")
    time.sleep(FOR_EVER)  # noqa: ASYNC251 - that is the point


@task(max_retries=0)
def hang_stubbornly(path: str) -> None:
    tell(path, "begin")
    while True:
        try:
            time.sleep(FOR_EVER)
        except BaseException as error:
            tell(path, f"swallowed {type(error).__name__}")


@task(max_retries=0)
async def hang_async_stubbornly(path: str) -> None:
    tell(path, "begin")
    while True:
        try:
            await asyncio.sleep(FOR_EVER)
        except BaseException as error:
            tell(path, f"swallowed {type(error).__name__}")


@task(max_retries=0, timeout=0.3)
def clean_up(path: str) -> None:
    try:
        time.sleep(FOR_EVER)
    except TaskTimeout:
        tell(path, "cleaned")
        raise


@task()
def take_the_alarm() -> int:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    return os.getpid()


# ── that take their process with them ──


@task(max_retries=0)
def crash_in_c() -> None:
    ctypes.string_at(0)


@task(max_retries=0)
def vanish(status: int) -> None:
    print("last words")
    os._exit(status)


@task(max_retries=0)
def kill_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@task(max_retries=0)
async def vanish_async(status: int) -> None:
    os._exit(status)


@task(retry=RetryPolicy("fixed", 0.5, jitter=0.0))
def vanish_until(path: str, attempt: int) -> int:
    tell(path, f"{time.time()}")
    if context.attempt < attempt:
        os._exit(1)
    return context.attempt


@task(max_retries=0)
def devour(megabytes: int) -> int:
    return len(bytearray(megabytes * 1024 * 1024))


@task()
def grow(megabytes: int) -> int:
    """Leaves so much behind in the process."""
    _kept.append(b"x" * megabytes * 1024 * 1024)
    return os.getpid()


_kept: list[bytes] = []


# ── that queue others ──


@task()
def chain(more: int) -> None:
    if more:
        chain.delay(more - 1)
