"""Enqueueing: `.delay()` one by one, and many jobs in one transaction, beside plain sqlite3."""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks import app, raw, stage
from benchmarks.report import Figure, alternate, at_least, compared
from liteq import enqueue

_ONE = (
    "Calls of task.delay(number, text) in one process, beside INSERT statements, each its own "
    "transaction, on a kept sqlite3 connection to a file with the same tables and pragmas."
)
_BARE = (
    "The same beside INSERTs into a table of nothing but (id INTEGER PRIMARY KEY, name, payload), "
    "without any index: less than a queue can do with."
)
_MANY = (
    "enqueue(task.job(number, text) for …), 1,000 a transaction, beside sqlite3's executemany, "
    "1,000 rows a transaction, into the same tables. Making the calls is part of the time."
)
_BATCH = 1000


def one_by_one(folder: str, quick: bool) -> Iterator[Figure]:
    """`.delay()` beside a plain insert and commit."""
    count = 2_000 if quick else 10_000
    with (
        _plain(os.path.join(folder, "raw.db")) as plain,
        stage.database(os.path.join(folder, "enqueue.db")),
        raw.connected(os.path.join(folder, "bare.db")) as bare,
    ):
        bare.execute("CREATE TABLE tasks (id INTEGER PRIMARY KEY, name TEXT, payload TEXT)")
        ours, raws, bares = alternate(
            3 if quick else 7,
            lambda: _delayed(count),
            lambda: raw.insert_singly(plain, count),
            lambda: _inserted_bare(bare, count),
        )
    yield compared("enqueue one by one", "/s", ours, raws, at_least(0.4, "ratio"), how=_ONE)
    yield compared("  beside a bare table", "/s", ours, bares, how=_BARE)


def in_bulk(folder: str, quick: bool) -> Iterator[Figure]:
    """`enqueue` of many beside executemany."""
    count = 20_000 if quick else 100_000
    with (
        _plain(os.path.join(folder, "raw.db")) as plain,
        stage.database(os.path.join(folder, "enqueue.db")),
    ):
        ours, raws = alternate(
            3 if quick else 5,
            lambda: _in_bulk(count),
            lambda: raw.insert_in_bulk(plain, count, _BATCH),
        )
    yield compared("enqueue in bulk", "/s", ours, raws, at_least(150_000), how=_MANY)


def _delayed(count: int) -> float:
    began = time.perf_counter()
    for number in range(count):
        app.noop.delay(number, "hello")
    return count / (time.perf_counter() - began)


def _in_bulk(count: int) -> float:
    began = time.perf_counter()
    for start in range(0, count, _BATCH):
        enqueue(app.noop.job(number, "hello") for number in range(start, start + _BATCH))
    return count / (time.perf_counter() - began)


def _inserted_bare(connection: sqlite3.Connection, count: int) -> float:
    prepared = [(name, payload) for name, payload, _, _ in raw.rows(count)]
    began = time.perf_counter()
    for row in prepared:
        connection.execute("INSERT INTO tasks (name, payload) VALUES (?, ?)", row)
    return count / (time.perf_counter() - began)


@contextmanager
def _plain(path: str) -> Iterator[sqlite3.Connection]:
    """A plain connection to a file with LiteQ's tables."""
    with stage.database(path):
        pass
    with raw.connected(path) as connection:
        yield connection
