"""Huey's share of the contest, with its SQLite storage. Runs in huey's own virtual environment.

As durable as LiteQ is by default: WAL, synchronous=NORMAL (huey's own default, FULL, is slower).

    python -m huey.bin.huey_consumer huey_app.huey
    python -c 'import huey_app; huey_app.main("enqueue", "1000")'
"""

import json
import os
import sqlite3
import time

from huey import Huey
from huey.storage import SqliteStorage
from stamps import write_stamp


class Storage(SqliteStorage):
    """Huey's storage in WAL mode with synchronous=NORMAL."""

    def _create_connection(self) -> sqlite3.Connection:
        connection = super()._create_connection()
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection


huey = Huey("bench", storage_class=Storage, filename=os.environ["RIVAL_DB"])


@huey.task()
def stamp(number: int, text: str) -> int:
    """Note number and time."""
    write_stamp(number)
    return number


def enqueue(count: int) -> float:
    """Calls a second, one after the other."""
    began = time.perf_counter()
    for number in range(count):
        stamp(number, "hello")
    return count / (time.perf_counter() - began)


def latency(count: int) -> dict[int, float]:
    """When each of the jobs was queued, by its number; one each 20 ms."""
    sent = {}
    for number in range(count):
        sent[number] = time.monotonic()
        stamp(number, "hello")
        time.sleep(max(0.0, sent[number] + 0.02 - time.monotonic()))
    return sent


def main(verb: str, count: str) -> None:
    """Print as JSON what the function `verb` returns."""
    print(json.dumps({"enqueue": enqueue, "latency": latency}[verb](int(count))))
