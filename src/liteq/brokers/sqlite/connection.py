"""Connection: one writer connection per process to one file, safe under threads, forks and `rm`.

What is asked of it is the broker's business. It follows SQLite's hard rules
(https://www.sqlite.org/howtocorrupt.html): no connection crosses a fork, nothing but SQLite opens
or closes the database, -wal or -shm file in this process, and a connection to a deleted file is
never closed, since closing would unlink the -wal of the file that took its place.
"""

import logging
import os
import random
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from liteq.brokers.sqlite import filesystem, schema
from liteq.errors import (
    BrokerCorrupt,
    BrokerError,
    BrokerFull,
    BrokerReadOnly,
    BrokerUnavailable,
)

logger = logging.getLogger(__name__)

OLDEST = (3, 35)  # the first with RETURNING
PATIENCE = 60.0  # seconds of waiting for other writers before it is called a fault
Returned = TypeVar("Returned")


class Database:
    """A SQLite file with LiteQ's tables, opened when first used, and again when it must be."""

    def __init__(self, path: str, synchronous: str = "NORMAL"):
        self.path = os.path.abspath(path)
        self.lock = threading.RLock()
        self._synchronous = synchronous
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        _databases.add(self)

    def run(self, work: Callable[[sqlite3.Connection], Returned]) -> Returned:
        """What `work` returns, given the connection; it must be one statement, or only read.

        Retried while others hold the lock. Raises BrokerError and its kinds.
        """
        with self.lock:
            return self._patiently(lambda: work(self._ready()))

    def execute(self, statement: str, values: Sequence[object]) -> sqlite3.Cursor:
        """Run one statement that gives no rows; alone it is a transaction. For a single `.delay()`.

        Rows would have to be fetched under the lock, as another thread may run the same statement.
        """
        with self.lock:
            try:
                return self._ready().execute(statement, values)
            except sqlite3.Error as error:
                if not is_busy(error):
                    raise self._translated(error) from error
        return self.run(lambda connection: connection.execute(statement, values))

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """The connection inside `BEGIN IMMEDIATE`: committed at the end, or rolled back."""
        with self.lock:
            connection = self._patiently(self._begun)
            try:
                yield connection
                self._patiently(lambda: connection.execute("COMMIT"))
            except BaseException as error:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    raise self._translated(error) from error
                raise

    def close(self) -> None:
        """Close the connection; the next use opens it again."""
        with self.lock:
            connection, self._connection = self._connection, None
            if connection is None:
                return
            if self._current_identity() == self._identity:
                connection.close()
            else:
                _abandon(connection)

    def _begun(self) -> sqlite3.Connection:
        connection = self._ready()
        connection.execute("BEGIN IMMEDIATE")
        return connection

    def _ready(self) -> sqlite3.Connection:
        """The open connection to the file that is at the path now."""
        if self._connection is not None:
            if self._current_identity() == self._identity:
                return self._connection
            logger.warning("database %s was deleted or replaced; using the new file", self.path)
            _abandon(self._connection)
            self._connection = None
        self._connection = self._opened()
        self._identity = self._current_identity()
        return self._connection

    def _opened(self) -> sqlite3.Connection:
        connection = open_file(self.path, synchronous=self._synchronous)
        try:
            schema.ensure(connection, self.path)
        except BaseException:
            connection.close()
            raise
        return connection

    def _current_identity(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self.path)
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _patiently(self, work: Callable[[], Returned]) -> Returned:
        """`work()`, again and again with growing random pauses while the file is locked."""
        deadline, pause = 0.0, 0.0005
        while True:
            try:
                return work()
            except sqlite3.Error as error:
                if not is_busy(error):
                    raise self._translated(error) from error
                now = time.monotonic()
                deadline = deadline or now + PATIENCE
                if now > deadline:
                    raise BrokerUnavailable(
                        f"{self.path} was locked by another program for {PATIENCE:.0f} seconds; "
                        "look for a transaction that is left open"
                    ) from error
            # Full jitter: equal pauses would let the same two writers meet again and again.
            time.sleep(random.random() * pause)
            pause = min(pause * 2, 0.02)

    def _translated(self, error: sqlite3.Error) -> Exception:
        return translated(error, self.path)


def open_file(path: str, *, synchronous: str = "NORMAL", **options: Any) -> sqlite3.Connection:
    """A connection set up for LiteQ's use, in autocommit mode; the tables are not looked at.

    Raises BrokerError and its kinds, each naming the path and what to do.
    """
    if sqlite3.sqlite_version_info < OLDEST:
        raise BrokerUnavailable(
            f"this Python has SQLite {sqlite3.sqlite_version}; LiteQ needs 3.35 (2021) or newer"
        )
    filesystem.check(path)
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise BrokerUnavailable(
            f"cannot open {path}: there is no folder {folder}; create it, or set LITEQ_DB"
        )
    if os.path.isdir(path):
        raise BrokerUnavailable(f"cannot open {path}: it is a folder; LITEQ_DB must name a file")
    options = {"isolation_level": None, "check_same_thread": False, "timeout": 0, **options}
    try:
        connection: sqlite3.Connection = sqlite3.connect(path, cached_statements=256, **options)
    except sqlite3.Error as error:
        raise translated(error, path) from error
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            _set_up(connection, synchronous)
            return connection
        except sqlite3.Error as error:
            if is_busy(error) and time.monotonic() < deadline:
                time.sleep(random.random() * 0.01)
                continue
            connection.close()
            raise translated(error, path) from error


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another connection's lock was in the way, so that it is worth trying again."""
    text = str(error)
    return "is locked" in text or "busy" in text


def translated(error: sqlite3.Error, path: str) -> Exception:
    """The BrokerError that says what this error of SQLite's means for the user."""
    text = str(error)
    if "readonly" in text or ("unable to open" in text and not _writable(path)):
        return BrokerReadOnly(
            f"{path} is read-only for this user ({text}); "
            "LiteQ must be able to write the file and its folder"
        )
    if "is full" in text:
        return BrokerFull(f"{path}: {text}; nothing was stored: free some space and try again")
    if "not a database" in text or "malformed" in text:
        return BrokerCorrupt(
            f"{path} is not a usable SQLite database ({text}); restore it from a backup, "
            "or move it away to start with an empty one"
        )
    if "unable to open" in text or "disk I/O" in text or is_busy(error):
        return BrokerUnavailable(f"cannot use {path}: {text}; check the disk and permissions")
    return BrokerError(f"{path}: {text}")


def _writable(path: str) -> bool:
    """Whether this user may write the file, if it is there, and its folder."""
    folder = os.path.dirname(os.path.abspath(path))
    return all(os.access(each, os.W_OK) for each in (folder, path) if os.path.exists(each))


def _set_up(connection: sqlite3.Connection, synchronous: str) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise sqlite3.OperationalError(f"unable to open in WAL mode (got {mode!r})")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    # A checkpoint copies the log into the file with an fsync; each 16 MB instead of 4 MB makes
    # the commit that has to pay for it four times rarer.
    connection.execute("PRAGMA wal_autocheckpoint = 4000")


def _abandon(connection: sqlite3.Connection) -> None:
    """Keep a connection from ever being closed (see above), at the price of its descriptors."""
    import ctypes

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


_databases: "weakref.WeakSet[Database]" = weakref.WeakSet()
_held: list[Database] = []


def _before_fork() -> None:
    """Wait for transactions of other threads, then close, so that the child inherits nothing."""
    for database in list(_databases):
        database.lock.acquire()
        _held.append(database)
        database.close()


def _after_fork() -> None:
    while _held:
        _held.pop().lock.release()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork
    )
