"""The tasks of the crash test: they note that they begin and that they end.

Each note is one write to a file opened with O_APPEND, so that it is there whole or not at all,
whoever is killed when.
"""

import asyncio
import os
import time

from liteq import RetryPolicy, context, task

# A first loss goes round at once; a second one soon, so that the test is not all waiting.
SOON = RetryPolicy("fixed", first=0.5, jitter=0.0)
_journal: int | None = None


@task(queue="crash", retry=SOON)
def leave(number: int, seconds: float) -> int:
    """Begin, take so long, end."""
    note("begin")
    time.sleep(seconds)
    note("end")
    return number


@task(queue="crash", retry=SOON)
async def aleave(number: int, seconds: float) -> int:
    """The same as a coroutine, among others in one process."""
    note("begin")
    await asyncio.sleep(seconds)
    note("end")
    return number


def note(what: str) -> None:
    """Append which job this is, the steady clock, our pid and our worker's."""
    global _journal
    if _journal is None:
        _journal = os.open(os.environ["CRASH_JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    line = f"{what} {context.id} {time.monotonic()} {os.getpid()} {os.getppid()}\n"
    os.write(_journal, line.encode())
