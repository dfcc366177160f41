"""Raw: what plain sqlite3 does on LiteQ's own tables, with LiteQ's own pragmas. The limits."""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

BATCH = 256
INSERT = "INSERT INTO tasks (name, payload, queue, place) VALUES (?, ?, ?, ?)"
_CLAIM = """
UPDATE tasks SET status = 'running', attempts = attempts + 1, worker_id = 'raw', started_at = ?
WHERE id IN (SELECT id FROM tasks WHERE status = 'pending' AND place > 0 AND queue = 'bench'
             ORDER BY priority DESC, place, id LIMIT ?)
RETURNING id, name, payload
"""
_DONE = "UPDATE tasks SET status = 'done', result = ?, finished_at = ? WHERE id = ?"
_NOW = "2026-01-31T09:00:00.123456Z"


@contextmanager
def connected(path: str) -> Iterator[sqlite3.Connection]:
    """A connection as LiteQ sets up its own."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=60)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA wal_autocheckpoint = 4000")
        yield connection
    finally:
        connection.close()


def rows(count: int) -> list[tuple[str, str, str, int]]:
    """Rows of no-op jobs, one small int and one short string each."""
    place = int(time.time() * 1e6)
    return [
        ("noop", f'{{"args": [{number}, "hello"], "kwargs": {{}}}}', "bench", place)
        for number in range(count)
    ]


def insert_singly(connection: sqlite3.Connection, count: int) -> float:
    """Rows a second, each in a transaction of its own."""
    prepared = rows(count)
    began = time.perf_counter()
    for row in prepared:
        connection.execute(INSERT, row)
    return count / (time.perf_counter() - began)


def insert_in_bulk(connection: sqlite3.Connection, count: int, batch: int = 1000) -> float:
    """Rows a second, by executemany, `batch` a transaction."""
    prepared = rows(count)
    began = time.perf_counter()
    for start in range(0, count, batch):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(INSERT, prepared[start : start + batch])
        connection.execute("COMMIT")
    return count / (time.perf_counter() - began)


def claim_and_finish(connection: sqlite3.Connection, count: int, batch: int = BATCH) -> float:
    """Jobs a second, claimed in one transaction and finished in another, `batch` at a time.

    Raises RuntimeError if there are not so many.
    """
    left = count
    began = time.perf_counter()
    while left > 0:
        claimed = connection.execute(_CLAIM, (_NOW, min(batch, left))).fetchall()
        if not claimed:
            raise RuntimeError(f"{left} of {count} jobs were not there")
        finish(connection, claimed)
        left -= len(claimed)
    return count / (time.perf_counter() - began)


def finish(connection: sqlite3.Connection, claimed: Sequence[tuple[int, str, str]]) -> None:
    """Store results for claimed rows, in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(_DONE, [("1", _NOW, id) for id, _, _ in claimed])
    connection.execute("COMMIT")
