"""Dialects: how SQLite, PostgreSQL and MySQL (or MariaDB) say the same thing.

Statements are written with `?` for values and take any DB-API driver's style. Nothing is run here.
"""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from liteq.errors import BrokerError

# What an error of a driver's means for us:
# again        another transaction was in the way: try again
# lost         the connection is gone: open another
# missing      no such table or column
# unavailable  no server, no file, or no entry
# read-only, full, corrupt: as they say; other: all else
Fault = Literal["again", "lost", "missing", "unavailable", "read-only", "full", "corrupt", "other"]

_ALIASES = {"pgsql": "postgresql", "postgres": "postgresql", "mariadb": "mysql"}
_SQLITE: tuple[tuple[str, Fault], ...] = (
    ("is locked", "again"),
    ("busy", "again"),
    ("no such table", "missing"),
    ("no such column", "missing"),
    ("readonly", "read-only"),
    ("is full", "full"),
    ("not a database", "corrupt"),
    ("malformed", "corrupt"),
    ("unable to open", "unavailable"),
    ("disk I/O", "unavailable"),
)
# By the beginning of SQLSTATE: https://www.postgresql.org/docs/current/errcodes-appendix.html
_POSTGRESQL: tuple[tuple[str, Fault], ...] = (
    ("40001", "again"),  # could not serialize access
    ("40P01", "again"),  # deadlock
    ("55P03", "again"),  # a lock_timeout of the server's
    ("42P01", "missing"),
    ("42703", "missing"),
    ("25006", "read-only"),
    ("42501", "read-only"),  # no right to write
    ("53100", "full"),
    ("XX001", "corrupt"),
    ("XX002", "corrupt"),
    ("57P0", "lost"),  # shut down by an administrator
    ("08", "lost"),
    ("28", "unavailable"),  # wrong password
    ("3D", "unavailable"),  # no such database
    ("53", "unavailable"),  # too many connections
)
_MYSQL: dict[int, Fault] = {
    1213: "again",  # deadlock
    1205: "again",  # lock wait timeout
    1020: "again",  # record has changed since last read (MariaDB)
    1146: "missing",
    1054: "missing",
    1290: "read-only",
    1792: "read-only",
    1836: "read-only",
    1142: "read-only",  # no right to write
    1021: "full",
    1114: "full",
    0: "lost",  # PyMySQL, about a connection that it has closed
    1053: "lost",  # server shutdown in progress
    1927: "lost",  # connection was killed
    2006: "lost",
    2013: "lost",
    2055: "lost",
    4031: "lost",  # idle for too long
    1040: "unavailable",  # too many connections
    1044: "unavailable",
    1045: "unavailable",
    1049: "unavailable",
    1698: "unavailable",
    2002: "unavailable",
    2003: "unavailable",
    2005: "unavailable",
}


@dataclass(frozen=True, slots=True)
class Dialect:
    """One kind of database. Get it by `named`."""

    name: Literal["sqlite", "postgresql", "mysql"]
    begin: str = "BEGIN"
    quote: str = '"'
    lock: str = " FOR UPDATE"  # behind a SELECT inside a transaction
    ignore: str = ""  # behind UPDATE: numbers that are too large for their column are cut

    def quoted(self, name: str) -> str:
        """A table's or column's name as it goes into a statement; `schema.table` is two names.

        Raises ValueError for what can be no table of Laravel's.
        """
        if not re.fullmatch(r"[^\W\d][\w$-]*(\.[^\W\d][\w$-]*)*", name):
            raise ValueError(f"{name!r} is no name of a table")
        return ".".join(f"{self.quote}{part}{self.quote}" for part in name.split("."))

    def insert(self, table: str, columns: Sequence[str], rows: int = 1) -> str:
        """An INSERT of so many rows."""
        names = ", ".join(self.quoted(column) for column in columns)
        row = f"({', '.join('?' * len(columns))})"
        return f"INSERT INTO {table} ({names}) VALUES {', '.join([row] * rows)}"

    def insert_new(self, table: str, columns: Sequence[str], key: str) -> str:
        """An INSERT that does nothing if a row with this `key` is there."""
        # Not INSERT IGNORE, which would also cut values that are too long for their column.
        if self.name == "mysql":
            same = f"{self.quoted(key)} = {self.quoted(key)}"
            return f"{self.insert(table, columns)} ON DUPLICATE KEY UPDATE {same}"
        return f"{self.insert(table, columns)} ON CONFLICT DO NOTHING"

    def upsert(self, table: str, columns: Sequence[str], key: str) -> str:
        """An INSERT that takes the place of a row with this `key`."""
        others = [self.quoted(column) for column in columns if column != key]
        if self.name == "mysql":
            new = ", ".join(f"{name} = VALUES({name})" for name in others)
            return f"{self.insert(table, columns)} ON DUPLICATE KEY UPDATE {new}"
        new = ", ".join(f"{name} = excluded.{name}" for name in others)
        return f"{self.insert(table, columns)} ON CONFLICT ({self.quoted(key)}) DO UPDATE SET {new}"

    def incremented(self, column: str) -> str:
        """One more, as far as a small column can count."""
        if self.name == "postgresql":  # smallint, and no UPDATE IGNORE
            return f"LEAST({column} + 1, 32767)"
        return f"{column} + 1"

    def lock_for_popping(self, version: str) -> str:
        """The lock that goes past rows which others have locked, if this version has it."""
        number = _version(version)
        if self.name == "sqlite":
            return ""
        if self.name == "postgresql":
            able = number >= (9, 5)
        elif "mariadb" in version.lower():
            able = number >= (10, 6)
        else:
            able = number >= (8, 0, 1)
        return f"{self.lock} SKIP LOCKED" if able else self.lock

    def fault(self, error: BaseException, connection: Any = None) -> Fault | None:
        """What a driver's error means, None for an error that is no database driver's."""
        if not _from_driver(error):
            return None
        if self.name == "sqlite":
            text = str(error)
            return next((fault for part, fault in _SQLITE if part in text), "other")
        if self.name == "mysql":
            return _mysql_fault(error)
        return _postgresql_fault(error, connection)


_DIALECTS = {
    "sqlite": Dialect("sqlite", begin="BEGIN IMMEDIATE", lock=""),
    "postgresql": Dialect("postgresql"),
    "mysql": Dialect("mysql", quote="`", ignore=" IGNORE"),
}


def named(name: str) -> Dialect:
    """The dialect: sqlite, postgresql (or pgsql), mysql, mariadb. Raises ValueError for others."""
    dialect = _DIALECTS.get(_ALIASES.get(name, name))
    if dialect is None:
        raise ValueError(
            f"no dialect {name!r}; there are sqlite, postgresql (pgsql), mysql and mariadb"
        )
    return dialect


def placeholder(connection: object) -> str:
    """What stands for a value in statements of this connection's driver: `?` or `%s`."""
    module = next(filter(None, map(_driver, type(connection).__mro__)), None)
    if module is None:
        raise BrokerError(
            f"{type(connection).__qualname__} is no connection of a DB-API driver; "
            "let connect() return one of sqlite3, psycopg, pymysql or their like"
        )
    style = module.paramstyle
    if style in {"format", "pyformat"}:
        return "%s"
    if style == "qmark":
        return "?"
    raise BrokerError(
        f"{module.__name__} wants values by {style!r}; take a driver with qmark or format style"
    )


def _from_driver(error: BaseException) -> bool:
    return any(kind.__name__ == "Error" and _driver(kind) for kind in type(error).__mro__)


def _driver(kind: type) -> Any:
    """The DB-API module that a class comes from, or None: PEP 249 wants `paramstyle` there."""
    parts = kind.__module__.split(".")
    for length in range(len(parts), 0, -1):
        module = sys.modules.get(".".join(parts[:length]))
        if module is not None and hasattr(module, "paramstyle"):
            return module
    return None


def _mysql_fault(error: BaseException) -> Fault:
    number = getattr(error, "errno", None)
    if number is None and error.args:
        number = error.args[0]
    if "Connection not available" in str(error):  # MySQL Connector, which gives no number here
        return "lost"
    return _MYSQL.get(number, "other") if isinstance(number, int) else "other"


def _postgresql_fault(error: BaseException, connection: Any) -> Fault:
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or ""
    for beginning, fault in _POSTGRESQL:
        if state.startswith(beginning):
            return fault
    if connection is None:
        return "unavailable"
    return "lost" if getattr(connection, "closed", False) else "other"


def _version(text: str) -> tuple[int, ...]:
    """The numbers of a server's version; `5.5.5-` is what old MariaDBs put before theirs."""
    match = re.search(r"\d+(\.\d+)*", text.removeprefix("5.5.5-"))
    return tuple(map(int, match.group().split("."))) if match else ()
