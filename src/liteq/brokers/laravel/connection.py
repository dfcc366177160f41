"""Connection: one connection per process to Laravel's database, through any DB-API driver.

Safe under threads (one at a time), forks, restarts of the server and `rm` of a SQLite file. What
is asked of it is the business of the driver, the cache and the ledger.
"""

import logging
import os
import random
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, TypeVar
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from liteq.brokers.laravel import dialects
from liteq.brokers.laravel.dialects import Dialect, Fault
from liteq.errors import (
    BrokerCorrupt,
    BrokerError,
    BrokerFull,
    BrokerReadOnly,
    BrokerUnavailable,
)

logger = logging.getLogger(__name__)

PATIENCE = 60.0  # seconds of waiting for other transactions before it is called a fault
Returned = TypeVar("Returned")
_KINDS: dict[Fault, tuple[type[BrokerError], str]] = {
    "again": (BrokerUnavailable, "look for a transaction that is left open"),
    "lost": (BrokerUnavailable, "the connection was lost; is the server well?"),
    "unavailable": (BrokerUnavailable, "check that it is there and lets this user in"),
    "read-only": (BrokerReadOnly, "this user must be able to write"),
    "full": (BrokerFull, "nothing was stored: free some space and try again"),
    "corrupt": (BrokerCorrupt, "restore it from a backup"),
    "other": (BrokerError, "see the database's own message"),
}


class Link:
    """An open connection, and how to talk to it."""

    def __init__(self, raw: Any, dialect: Dialect, placeholder: str):
        self.raw = raw
        self.dialect = dialect
        self._mark = placeholder
        self._identity: tuple[int, int] | None = None
        self._path = ""
        self.lock_for_popping = dialect.lock_for_popping(self._set_up())

    def run(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run a statement that is written with `?` for values; its rows, if it gives any."""
        if self._mark != "?":
            statement = statement.replace("?", self._mark)
        cursor = self.raw.cursor()
        try:
            cursor.execute(statement, tuple(values))
            if cursor.description is None:
                return []
            return [_as_tuple(row) for row in cursor.fetchall()]
        finally:
            cursor.close()

    def stale(self) -> bool:
        """Whether this is a connection to a SQLite file that is no longer at its path."""
        return bool(self._path) and _identity(self._path) != self._identity

    def close(self) -> None:
        """Close the connection, unless closing would harm the file that took its file's place."""
        if self.stale():
            # SQLite would unlink the -wal of the new file.
            self.abandon()
            return
        try:
            self.raw.close()
        except Exception as error:
            if self.dialect.fault(error) is None:
                raise
            logger.debug("a lost connection could not be closed: %s", error)

    def abandon(self) -> None:
        """Keep the connection from ever being closed, at the price of its descriptors."""
        import ctypes

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.raw))

    def _set_up(self) -> str:
        """Make the connection what we count on; the version of the server.

        Each statement is to be a transaction of its own, unless we begin one.
        """
        if self.dialect.name == "sqlite":
            return self._set_up_sqlite()
        _commit_each_statement(self.raw)
        if self.dialect.name == "postgresql":
            return str(self.run("SHOW server_version")[0][0])
        names = "('version', 'log_bin', 'binlog_format')"
        rows = self.run(f"SHOW VARIABLES WHERE Variable_name IN {names}")
        about = {as_text(name): as_text(value) for name, value in rows}
        # Laravel takes MySQL's REPEATABLE READ, whose gap locks let poppers and producers of one
        # queue run into deadlocks. A binary log of statements allows nothing less, though.
        if (about.get("log_bin"), about.get("binlog_format")) != ("ON", "STATEMENT"):
            self.run("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        return about["version"]

    def _set_up_sqlite(self) -> str:
        if getattr(self.raw, "autocommit", -1) == -1:  # sqlite3.LEGACY_TRANSACTION_CONTROL
            self.raw.isolation_level = None
        else:
            self.raw.autocommit = True
        # A byte that is no UTF-8 must not take its whole batch down. What it becomes is no valid
        # JSON either, so that job fails with its reason.
        self.raw.text_factory = _text
        # We wait by ourselves, with random pauses: SQLite's own are long, and starve some.
        self.run("PRAGMA busy_timeout = 0")
        # Not journal_mode: whether the file has a write-ahead log is Laravel's choice.
        self._path = next((row[2] for row in self.run("PRAGMA database_list")), "")
        self._identity = _identity(self._path)
        return sqlite3.sqlite_version


class Session:
    """A connection that is opened when first used, and again when it must be.

    Raises BrokerError and its kinds, each with the database's own message and what to do.
    """

    def __init__(self, connect: Callable[[], Any], dialect: str, tables: str):
        """`tables` says what to do if a table is missing."""
        self.dialect = dialects.named(dialect)
        self.opened = 0  # how often
        self.fork_lock = threading.RLock()
        self._connect = connect
        self._tables = tables
        self._link: Link | None = None
        _sessions.add(self)

    def read(self, work: Callable[[Link], Returned]) -> Returned:
        """What `work` returns, given the connection; it must only read."""
        with self.fork_lock:
            return self._patiently(lambda: work(self._ready()), once_more=True)

    def write(self, work: Callable[[Link], Returned]) -> Returned:
        """What `work` returns, run in a transaction; again if other transactions are in the way."""
        with self.fork_lock:
            link, answer = self._patiently(lambda: self._worked(work), once_more=True)
            if self.dialect.name == "sqlite":
                self._commit_sqlite(link)
            return answer

    def close(self) -> None:
        """Close the connection; the next use opens it again."""
        with self.fork_lock:
            link, self._link = self._link, None
            if link is not None:
                link.close()

    def forked(self) -> None:
        """In a child process: leave its parent's connection alone."""
        link, self._link = self._link, None
        if link is not None:
            link.abandon()

    def _worked(self, work: Callable[[Link], Returned]) -> tuple[Link, Returned]:
        link = self._ready()
        link.run(self.dialect.begin)
        try:
            answer = work(link)
        except BaseException:
            self._roll_back(link)
            raise
        if self.dialect.name != "sqlite":
            self._commit(link)
        return link, answer

    def _commit_sqlite(self, link: Link) -> None:
        """COMMIT until no reader is in the way; they never are for good."""
        try:
            self._patiently(lambda: link.run("COMMIT"), once_more=False)
        except BaseException:
            self._roll_back(link)
            raise

    def _commit(self, link: Link) -> None:
        try:
            link.run("COMMIT")
        except Exception as error:
            if self.dialect.fault(error, link.raw) != "lost":
                self._roll_back(link)
                raise
            # Not to be run again: it may have been committed before the connection broke.
            self.close()
            raise BrokerUnavailable(
                f"{self._connect_name()}: the connection was lost in COMMIT ({error}); "
                "nobody knows whether that was stored"
            ) from error

    def _roll_back(self, link: Link) -> None:
        """After an error; a connection that can't even do this is given up."""
        try:
            link.run("ROLLBACK")
        except Exception as error:
            if self.dialect.fault(error, link.raw) is None:
                raise
            self.close()

    def _ready(self) -> Link:
        if self._link is not None:
            if not self._link.stale():
                return self._link
            logger.warning("%s was deleted or replaced; using the new file", self._connect_name())
            self.close()
        raw = self._connect()
        placeholder = dialects.placeholder(raw)
        self.opened += 1
        try:
            self._link = Link(raw, self.dialect, placeholder)
        except BaseException:
            raw.close()
            raise
        return self._link

    def _patiently(self, work: Callable[[], Returned], *, once_more: bool) -> Returned:
        """`work()`, again with growing random pauses while other transactions are in the way.

        `once_more`: also after a lost connection, one time.
        """
        deadline, pause = 0.0, 0.0005
        while True:
            before = self._link  # the work itself may give it up
            try:
                return work()
            except Exception as error:
                fault = self.dialect.fault(error, before and before.raw)
                if fault is None:
                    raise
                if fault == "lost":
                    self.close()
                    if once_more and before is not None:
                        once_more = False
                        continue
                now = time.monotonic()
                deadline = deadline or now + PATIENCE
                if fault != "again" or now > deadline:
                    raise self._translated(error, fault) from error
            # Full jitter: equal pauses would let the same two meet again and again.
            time.sleep(random.random() * pause)
            pause = min(pause * 2, 0.02)

    def _translated(self, error: Exception, fault: Fault) -> BrokerError:
        if fault == "missing":
            return BrokerError(f"{self._connect_name()}: {_first_line(error)}; {self._tables}")
        kind, remedy = _KINDS[fault]
        if "same thread" in str(error):
            remedy = "let connect() open it with check_same_thread=False"
        return kind(f"{self._connect_name()}: {_first_line(error)}; {remedy}")

    def _connect_name(self) -> str:
        return str(self._connect) if isinstance(self._connect, Connector) else self.dialect.name


class Connector:
    """Opens a connection by `module.connect(…)`; as a text it is the URL without its password."""

    def __init__(self, where: str, open_: Callable[..., Any], *arguments: Any, **options: Any):
        self._where = where
        self._open = open_
        self._arguments = arguments
        self._options = options

    def __call__(self) -> Any:
        """A new connection."""
        return self._open(*self._arguments, **self._options)

    def __str__(self) -> str:
        return self._where


def connector(url: str) -> tuple[Callable[[], Any], str]:
    """How to connect to the database of a URL, and the name of its dialect.

    `sqlite:////absolute/path`, `sqlite:///relative/path`, `postgresql://user:password@host/db`,
    `mysql://…` and `mariadb://…`, each with options of the driver behind a `?`. Raises ValueError
    for other URLs, BrokerUnavailable if there is no driver, with the package to install.
    """
    parts = urlsplit(url)
    dialect = dialects.named(parts.scheme)
    if dialect.name == "sqlite":
        return _to_sqlite(parts), dialect.name
    if dialect.name == "postgresql":
        return _to_postgresql(url, parts), dialect.name
    return _to_mysql(parts), dialect.name


def in_chunks(items: Sequence[Returned], most: int = 500) -> list[Sequence[Returned]]:
    """The items in pieces that fit into `IN (…)`: old SQLites take 999 values at most."""
    return [items[start : start + most] for start in range(0, len(items), most)]


def marks(items: Sequence[object]) -> str:
    """`(?, ?, ?)`, as many as there are items."""
    return f"({', '.join('?' * len(items))})"


def storable(text: str) -> str:
    r"""The text without what no database can take: lone surrogates, and NULs, become `\\…`."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()


def as_text(value: Any) -> str:
    """A column's text, whatever the driver makes of texts."""
    return value if isinstance(value, str) else _text(value)


def _to_sqlite(parts: SplitResult) -> Connector:
    if parts.netloc or not parts.path.strip("/"):
        raise ValueError(
            f"{parts.geturl()!r} names no file; it is sqlite:////absolute/path or "
            "sqlite:///relative/path"
        )
    path = os.path.abspath(unquote(parts.path[1:]))

    def opened() -> sqlite3.Connection:
        if not os.path.isfile(path):
            # SQLite would make an empty file, and Laravel would wonder.
            raise BrokerUnavailable(
                f"cannot open {path}: there is no such file; check DB_DATABASE, or create it "
                "with php artisan migrate"
            )
        return sqlite3.connect(path, isolation_level=None, check_same_thread=False)

    return Connector(path, opened)


def _to_postgresql(url: str, parts: SplitResult) -> Connector:
    scheme = parts.scheme
    module = _driver("psycopg", "psycopg2", package="psycopg[binary]")
    # libpq knows all the options, but not Laravel's name for the scheme. Not `geturl()`: before
    # Python 3.13 it loses the slashes of a URL without a host.
    return Connector(_without_password(parts), module.connect, "postgresql" + url[len(scheme) :])


def _to_mysql(parts: SplitResult) -> Connector:
    module = _driver("pymysql", "MySQLdb", "mysql.connector", package="pymysql")
    options: dict[str, Any] = {
        "host": unquote(parts.hostname or "localhost"),
        "port": parts.port or 3306,
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "database": unquote(parts.path[1:]),
        "charset": "utf8mb4",
    }
    options.update(parse_qsl(parts.query))
    for number in {"port", "connect_timeout", "read_timeout", "write_timeout"} & set(options):
        options[number] = int(options[number])
    return Connector(_without_password(parts), module.connect, **options)


def _driver(*names: str, package: str) -> Any:
    """The first of these modules that is installed."""
    for name in names:
        try:
            return import_module(name)
        except ImportError:
            continue
    raise BrokerUnavailable(
        f"there is no driver for this database ({' or '.join(names)}); pip install '{package}'"
    )


def _without_password(parts: SplitResult) -> str:
    at = f"{parts.username}@" if parts.username else ""
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{at}{parts.hostname or ''}{port}{parts.path}"


def _commit_each_statement(raw: Any) -> None:
    """Let no transaction begin by itself; PEP 249 has no name for this, drivers have two."""
    if callable(getattr(raw, "autocommit", None)):  # pymysql, MySQLdb
        raw.autocommit(True)
    else:
        raw.autocommit = True


def _first_line(error: Exception) -> str:
    """What a driver says, without the statement that PostgreSQL's show on more lines."""
    text = str(error.args[1]) if len(error.args) == 2 else str(error)  # MySQL's: number, text
    return text.strip().partition("\n")[0]


def _as_tuple(row: Any) -> tuple[Any, ...]:
    return tuple(row.values()) if isinstance(row, Mapping) else tuple(row)


def _text(value: Any) -> str:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).decode("utf-8", "backslashreplace")
    return "" if value is None else str(value)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


_sessions: "weakref.WeakSet[Session]" = weakref.WeakSet()
_held: list[Session] = []


def _before_fork() -> None:
    """Wait for transactions of other threads. SQLite is closed, so that a child inherits nothing.

    A child that has its parent's open file would believe in its parent's locks.
    """
    for session in list(_sessions):
        session.fork_lock.acquire()
        _held.append(session)
        if session.dialect.name == "sqlite":
            session.close()


def _after_fork_in_parent() -> None:
    while _held:
        _held.pop().fork_lock.release()


def _after_fork_in_child() -> None:
    for session in _held:
        session.forked()
    _after_fork_in_parent()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
