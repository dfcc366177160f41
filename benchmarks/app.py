"""The tasks that are measured. `liteq worker --app benchmarks/app.py` loads them."""

import asyncio
import time

from benchmarks.stamps import write_stamp
from liteq import task


@task(name="bench_noop", queue="bench")
def noop(number: int, text: str) -> int:
    """Nothing, with a result to store."""
    return number


@task(name="bench_anoop", queue="bench")
async def anoop(number: int, text: str) -> int:
    """Nothing, as a coroutine."""
    return number


@task(name="bench_nap", queue="bench")
async def nap(seconds: float) -> float:
    """Wait, as I/O does."""
    await asyncio.sleep(seconds)
    return seconds


@task(name="bench_stamp", queue="bench")
def stamp(number: int, text: str) -> int:
    """Note number and time."""
    write_stamp(number)
    return number


@task(name="bench_work", queue="bench")
def work(number: int, seconds: float) -> int:
    """Note number and time, then take that long."""
    write_stamp(number)
    if seconds:
        time.sleep(seconds)
    return number
