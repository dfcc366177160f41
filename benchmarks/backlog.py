"""Backlog: does a claim stay as quick whatever lies in the table?"""

import os
import sqlite3
import time
from collections.abc import Iterator
from functools import partial

from benchmarks import app, raw, stage
from benchmarks.report import Figure, alternate, at_least, compared
from liteq import brokers, enqueue, lifecycle
from liteq.job import Change, Job, Outcome

_HOW = (
    "broker.claim and broker.finish in this process, each a transaction; {batch} a time. Rates of "
    "each table beside that with 10,000 pending, round by round; what was taken is queued again "
    "after each round. Raw of the first line: plain sqlite3, the same batches."
)
_PENDING = 10_000
_DELAY = 30 * 86_400.0
_PRIORITIES = 10
_CHUNK = 5_000


def figures(folder: str, quick: bool) -> Iterator[Figure]:
    """Claim and finish with 10k pending, with 1M, with 1M delayed, with 1M finished."""
    many = 100_000 if quick else 1_000_000
    few_db, pending_db, delayed_db, done_db, raw_db = (
        os.path.join(folder, f"{name}.db") for name in ("few", "pending", "delayed", "done", "raw")
    )
    for path in (few_db, pending_db, delayed_db, done_db, raw_db):
        _fill(path, _PENDING)
    _fill(pending_db, many - _PENDING)
    for priority in range(1, _PRIORITIES + 1):
        _fill(delayed_db, many // _PRIORITIES, priority=priority, delay=_DELAY)
    _fill_with_finished(done_db, many)
    size = f"{many // 1000}k" if quick else "1M"
    others = {
        f"  {size} pending": pending_db,
        f"  {size} delayed, higher priority": delayed_db,
        f"  {size} finished": done_db,
    }
    with raw.connected(raw_db) as plain:
        for batch, jobs in ((raw.BATCH, 10 * raw.BATCH), (1, 300 if quick else 1000)):
            raws, few, *rates = alternate(
                3 if quick else 7,
                partial(_raw_rate, plain, jobs, batch),
                *(partial(_rate, path, jobs, batch) for path in (few_db, *others.values())),
            )
            how = _HOW.format(batch=batch)
            name = f"claim and finish, {batch} at once"
            yield compared(f"{name}, 10k pending", "/s", few, raws, how=how)
            for label, measured in zip(others, rates, strict=True):
                yield compared(label, "/s", measured, few, at_least(0.7, "ratio"), how=how)


def _rate(path: str, jobs: int, batch: int) -> float:
    """Jobs a second through the broker; as many are queued again afterwards."""
    with stage.database(path):
        broker = brokers.current()
        taken, began = 0, time.perf_counter()
        while taken < jobs:
            claimed = broker.claim("bench", ["bench"], min(batch, jobs - taken), 60.0)
            now = time.time()
            broker.finish([_done(job, now) for job in claimed])
            taken += len(claimed)
        took = time.perf_counter() - began
        enqueue(app.noop.job(number, "hello") for number in range(jobs))
    return jobs / took


def _done(job: Job, now: float) -> Change:
    return lifecycle.succeeded(job, Outcome(job.receipt, "done", now, now, "1"))


def _raw_rate(plain: sqlite3.Connection, jobs: int, batch: int) -> float:
    rate = raw.claim_and_finish(plain, jobs, batch)
    raw.insert_in_bulk(plain, jobs)
    return rate


def _fill(path: str, count: int, priority: int = 0, delay: float | None = None) -> None:
    with stage.database(path):
        noop = app.noop.options(priority=priority, delay=delay)
        for start in range(0, count, _CHUNK):
            numbers = range(start, min(start + _CHUNK, count))
            enqueue(noop.job(number, "hello") for number in numbers)


def _fill_with_finished(path: str, count: int) -> None:
    """As if so many jobs had been run."""
    with raw.connected(path) as connection:
        connection.execute(
            """
            WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < ?)
            INSERT INTO tasks (name, payload, queue, status, attempts, place, worker_id,
                               started_at, finished_at, result)
            SELECT 'noop', '{"args": [1, "hello"], "kwargs": {}}', 'bench', 'done', 1, x, 'bench',
                   '2026-01-31T09:00:00.123456Z', '2026-01-31T09:00:00.123456Z', '1' FROM n
            """,
            (count,),
        )
