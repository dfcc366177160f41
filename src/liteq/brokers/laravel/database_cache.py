"""Laravel's cache in a database, its default since Laravel 11: tables `cache` and `cache_locks`.

All values in the table are PHP serialize()d, numbers too. Out of here they come as Redis would
hold them: see `Cache`.
"""

import base64
import binascii
import contextlib
import re
import time
from collections.abc import Callable, Sequence
from typing import Any

from liteq.brokers.laravel.connection import Link, Session, as_text, in_chunks, marks

_TABLES = (
    "create the table with php artisan make:cache-table (cache:table up to Laravel 10) and "
    "php artisan migrate"
)
FOREVER = 315_360_000  # seconds, ten years: what Laravel writes for values without an end
LOCK_FOREVER = 86_400  # seconds, a day: what Laravel writes for locks without an end
_VALUES = ("key", "value", "expiration")
_LOCKS = ("key", "owner", "expiration")
_INT = re.compile(r"0|-?[1-9][0-9]{0,17}")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_SERIALIZED_NUMBER = re.compile(r'(?:[id]:([^;"]+)|s:[0-9]+:"([^"]+)");')


class DatabaseCache:
    """The `Cache` on Laravel's own tables."""

    def __init__(
        self,
        connect: Callable[[], Any],
        dialect: str,
        prefix: str = "laravel_cache_",
        table: str = "cache",
        locks_table: str = "cache_locks",
        *,
        clock: Callable[[], float] = time.time,
    ):
        """`prefix` is Laravel's `cache.prefix` (Laravel 13: `laravel-cache-`)."""
        self._session = Session(connect, dialect, _TABLES)
        self._dialect = self._session.dialect
        self._prefix = prefix
        self._table = self._dialect.quoted(table)
        self._locks = self._dialect.quoted(locks_table)
        self._key = self._dialect.quoted("key")
        self._clock = clock

    def get(self, keys: Sequence[str]) -> list[str | None]:
        """The values that lie under these keys, None for what is not there or expired."""
        now = int(self._clock())
        names = [self._prefix + key for key in keys]
        rows = self._session.read(lambda link: self._rows(link, names, now))
        found = {as_text(name): _as_on_redis(as_text(value)) for name, value in rows}
        return [found.get(name) for name in names]

    def put(self, key: str, value: str, ttl: int | None) -> None:
        """Store a value, for `ttl` seconds (None: for ten years)."""
        until = int(self._clock()) + (FOREVER if ttl is None else ttl)
        statement = self._dialect.upsert(self._table, _VALUES, "key")
        values = (self._prefix + key, self._stored(value), until)
        self._session.write(lambda link: link.run(statement, values))

    def count(self, key: str, ttl: int) -> int:
        """Add one to a counter that lives for `ttl` seconds from its start; what it is now.

        What is no whole number counts as 0, as with `increment` of Laravel's after `put`.
        """
        name, now = self._prefix + key, int(self._clock())

        def work(link: Link) -> int:
            value, until = self._locked(link, self._table, _VALUES, name)
            if until > now:
                text = _as_on_redis(value)
                number = int(text) + 1 if _INT.fullmatch(text) else 1
            else:
                number, until = 1, now + ttl
            self._update(link, self._table, "value", name, f"i:{number};", until)
            return number

        return self._session.write(work)

    def delete(self, key: str) -> None:
        """Take a value out."""
        self._session.write(lambda link: self._delete(link, self._table, self._prefix + key))

    def lock(self, key: str, owner: str, ttl: int | None) -> bool:
        """Take the lock for `ttl` seconds (None: a day, as Laravel); False if somebody has it.

        Its own owner may take it again, which prolongs it.
        """
        name, now = self._prefix + key, int(self._clock())

        def work(link: Link) -> bool:
            holder, until = self._locked(link, self._locks, _LOCKS, name)
            if holder != owner and until > now:
                return False
            self._update(link, self._locks, "owner", name, owner, now + (ttl or LOCK_FOREVER))
            return True

        return self._session.write(work)

    def unlock(self, key: str, owner: str | None) -> None:
        """Release the lock if `owner` holds it (None: whoever holds it)."""
        name = self._prefix + key
        where = "" if owner is None else " AND owner = ?"
        values = () if owner is None else (owner,)
        self._session.write(lambda link: self._delete(link, self._locks, name, where, *values))

    def close(self) -> None:
        """Close the connection; the next verb opens it again."""
        self._session.close()

    def _rows(self, link: Link, names: Sequence[str], now: int) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = []
        for chunk in in_chunks(names):
            statement = (
                f"SELECT {self._key}, value FROM {self._table} "
                f"WHERE {self._key} IN {marks(chunk)} AND expiration > ?"
            )
            rows += link.run(statement, (*chunk, now))
        return rows

    def _locked(
        self, link: Link, table: str, columns: tuple[str, str, str], name: str
    ) -> tuple[str, int]:
        """What lies there and until when; locked, and made for that if need be: expired since 0."""
        link.run(self._dialect.insert_new(table, columns, "key"), (name, "", 0))
        statement = (
            f"SELECT {columns[1]}, expiration FROM {table} WHERE {self._key} = ?"
            f"{self._dialect.lock}"
        )
        [(value, until)] = link.run(statement, (name,))
        return as_text(value), until

    def _update(
        self, link: Link, table: str, column: str, name: str, value: str, until: int
    ) -> None:
        link.run(
            f"UPDATE {table} SET {column} = ?, expiration = ? WHERE {self._key} = ?",
            (value, until, name),
        )

    def _delete(self, link: Link, table: str, name: str, where: str = "", *values: object) -> None:
        link.run(f"DELETE FROM {table} WHERE {self._key} = ?{where}", (name, *values))

    def _stored(self, value: str) -> str:
        if _INT.fullmatch(value):
            return f"i:{value};"
        if _NUMBER.fullmatch(value):
            return f's:{len(value)}:"{value}";'
        if "\0" in value and self._dialect.name == "postgresql":  # as Laravel does it
            return base64.b64encode(value.encode()).decode()
        return value


def _as_on_redis(value: str) -> str:
    """A serialize()d value as Laravel's Redis store would have it: numbers as they are."""
    if ":" not in value and ";" not in value:  # as Laravel does it where texts can have no NUL
        with contextlib.suppress(binascii.Error):  # then it is nobody's, and stays as it is
            value = base64.b64decode(value, validate=True).decode("utf-8", "backslashreplace")
    match = _SERIALIZED_NUMBER.fullmatch(value)
    if match is None:
        return value
    number = match.group(1) or match.group(2)
    return number if _NUMBER.fullmatch(number) else value
