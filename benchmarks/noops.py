"""No-ops: jobs that do nothing, through a real `liteq worker`; beside plain sqlite3."""

import itertools
import os
import statistics
from collections.abc import Iterator

from benchmarks import app, raw, stage
from benchmarks.report import Figure, Target, alternate, at_least, compared
from liteq import JobId, enqueue, times

_HOW = (
    "All jobs queued beforehand, then a worker is started; jobs ÷ (latest finished_at − earliest "
    "started_at), both as stored with the jobs, so the start of the interpreter is not in it. "
    "Every job is checked to be done, with its result. The worker logs at --log-level warning. "
    f"Raw: plain sqlite3 on the same tables, claim {raw.BATCH} in one transaction, finish them in "
    "another, in one process that does nothing else."
)
_LOGGED = "As above, once, with --log-level info: a line of text for each job, to a file."
_ASYNC_LIMIT = 100
_numbers = itertools.count(1)


def figures(folder: str, quick: bool) -> Iterator[Figure]:
    """Plain functions with 2 and 4 processes, and coroutines."""
    count = 20_000 if quick else 100_000
    two = ("--concurrency", "2")
    four = ("--concurrency", "4")
    coroutines = (*two, "--async-limit", str(_ASYNC_LIMIT))
    by_two, by_four, by_async, raws = alternate(
        2 if quick else 3,
        lambda: rate(folder, count, "noop", *two),
        lambda: rate(folder, count, "noop", *four),
        lambda: rate(folder, count, "anoop", *coroutines),
        lambda: _raw_rate(folder, count),
    )
    goals: tuple[Target, ...] = (at_least(40_000), at_least(0.25, "ratio"))
    yield compared("no-op jobs, 2 processes", "/s", by_two, raws, *goals, how=_HOW)
    yield compared("no-op jobs, 4 processes", "/s", by_four, raws, how=_HOW)
    name = f"no-op coroutines, 2 × {_ASYNC_LIMIT}"
    yield compared(name, "/s", by_async, raws, how=_HOW)
    logged = rate(folder, count, "noop", *two, log="info")
    usual = statistics.median(by_two)
    yield Figure("  with a log line each", logged, "/s", usual, logged / usual, how=_LOGGED)


def rate(folder: str, count: int, name: str, *options: str, log: str = "warning") -> float:
    """Jobs a second of the task `name` through a worker with these options."""
    path = os.path.join(folder, f"{name}-{next(_numbers)}.db")
    with stage.database(path):
        queue(count, name)
        with stage.worker(path, "--queues", "bench", *options, log=log):
            return drained(path, count)


def queue(count: int, name: str) -> list[JobId]:
    """Queue no-op calls of this task."""
    task = getattr(app, name)
    ids: list[JobId] = []
    for start in range(0, count, 1000):
        numbers = range(start, min(start + 1000, count))
        ids += enqueue(task.job(number, "hello") for number in numbers)
    return ids


def drained(path: str, count: int) -> float:
    """Wait for the end of all jobs; how many were done a second.

    Raises RuntimeError if any did not end as it should.
    """
    look = stage.reading(path)
    stage.wait_until(lambda: stage.is_drained(look), f"{count} jobs done in {path}")
    done, first, last = look.execute(
        "SELECT count(*), min(started_at), max(finished_at) FROM tasks"
        " WHERE status = 'done' AND result IS NOT NULL AND attempts = 1"
    ).fetchone()
    look.close()
    if done != count:
        raise RuntimeError(f"of {count} jobs only {done} were done at their first attempt")
    return count / (times.instant(last) - times.instant(first))


def _raw_rate(folder: str, count: int) -> float:
    path = os.path.join(folder, f"raw-{next(_numbers)}.db")
    with stage.database(path):
        queue(count, "noop")
    with raw.connected(path) as connection:
        return raw.claim_and_finish(connection, count)
