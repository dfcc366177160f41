"""Laravel's database driver: payloads are rows of its table `jobs`, or of another of that shape.

A reserved row says when it was reserved, not until when: each reader adds its own `retry_after`.
So whoever shares a queue must have the same one, as among Laravel's own workers.
"""

import json
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NamedTuple

from liteq.brokers.base import Listener
from liteq.brokers.laravel.base import Counts, Delivery, Parcel, Popped, Settlement
from liteq.brokers.laravel.connection import (
    Link,
    Session,
    as_text,
    connector,
    in_chunks,
    marks,
    storable,
)
from liteq.errors import BrokerError

__all__ = ["DatabaseDriver", "connector"]

_LOOK = 1000  # rows that are looked at for jobs of other classes than the skipped ones
_PAGE = 100  # of them at once
_INSERT_ROWS = 100  # in one statement
_INSERT_BYTES = 1_000_000  # well within MySQL's smallest max_allowed_packet in use, 4 MB
_COLUMNS = ("queue", "payload", "attempts", "available_at", "created_at")
_TABLES = (
    "create the table with php artisan make:queue-table (queue:table up to Laravel 10) and "
    "php artisan migrate"
)


class DatabaseDriver:
    """The `Driver` on a table. `held` of its deliveries is `id:attempts:lease`.

    The number of attempts is the fence: whoever takes over an expired row counts one more, and a
    released job gets a new row. (MySQL's column ends at 255 attempts; beyond, the fence rests on
    the row alone.) There is no list of dead letters here: failed jobs belong into a `Ledger`.
    """

    def __init__(
        self,
        connect: Callable[[], Any],
        dialect: str,
        table: str = "jobs",
        *,
        clock: Callable[[], float] = time.time,
    ):
        """`connect` opens a DB-API connection that only this driver uses; see `connector`."""
        self._connect = connect
        self._session = Session(connect, dialect, _TABLES)
        self._dialect = self._session.dialect
        self._table = self._dialect.quoted(table)
        self._clock = clock

    def push(self, parcels: Sequence[Parcel]) -> None:
        """Put the payloads into their queues, all or none."""
        if parcels:
            self._session.write(lambda link: self._insert(link, parcels))

    def pop(
        self, queue: str, limit: int, now: int, until: int | None, skip: Sequence[str] = ()
    ) -> Popped:
        """Reserve up to `limit` due payloads, by Laravel's own condition, oldest row first."""
        lease = None if until is None else until - now
        due = _Due.of(queue, now, lease)
        deliveries: list[Delivery] = []
        if limit > 0 and self._worth_it(due):
            deliveries = self._session.write(lambda link: self._reserve(link, due, limit, skip))
        if len(deliveries) >= limit:
            return Popped(deliveries, None)
        return Popped(deliveries, self._session.read(lambda link: self._next_at(link, due)))

    def renew(self, deliveries: Sequence[Delivery], until: int) -> list[bool]:
        """Hold them until then, as readers with the lease of their pop see it."""
        if not deliveries:
            return []

        def work(link: Link) -> list[bool]:
            attempts = self._locked(link, deliveries)
            reserved_at: dict[int, list[int]] = defaultdict(list)
            ours = []
            for delivery in deliveries:
                held = _Held.read(delivery)
                ours.append(attempts.get(held.id) == held.attempts)
                if ours[-1]:
                    reserved = until - held.lease if held.lease is not None else self._now()
                    reserved_at[max(reserved, 0)].append(held.id)
            for reserved, ids in reserved_at.items():
                self._each_chunk(
                    link, f"UPDATE {self._table} SET reserved_at = ?", (reserved,), ids
                )
            return ours

        return self._session.write(work)

    def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """Apply those that are still ours, all in one transaction.

        Raises BrokerError, and applies none, if one of ours is to be buried. If the connection
        breaks in COMMIT, it raises BrokerUnavailable: to settle them again changes nothing that
        was stored, but for a `return` whose row somebody has taken since.
        """
        if not settlements:
            return []

        def work(link: Link) -> list[bool]:
            attempts = self._locked(link, [each.delivery for each in settlements])
            ours = []
            for each in settlements:
                held = _Held.read(each.delivery)
                ours.append(attempts.get(held.id) == held.attempts)
                if ours[-1]:
                    del attempts[held.id]
            self._apply(link, [each for each, mine in zip(settlements, ours, strict=True) if mine])
            return ours

        return self._session.write(work)

    def counts(self, queue: str) -> Counts:
        """How many rows the queue has."""
        free = "reserved_at IS NULL AND available_at"
        statement = (
            f"SELECT COUNT(CASE WHEN {free} <= ? THEN 1 END), "
            f"COUNT(CASE WHEN {free} > ? THEN 1 END), COUNT(reserved_at) "
            f"FROM {self._table} WHERE queue = ?"
        )
        now = self._now()
        [row] = self._session.read(lambda link: link.run(statement, (now, now, queue)))
        return Counts(*row)

    def clear(self, queue: str) -> int:
        """Delete all of the queue's rows, the reserved ones too; how many there were."""

        def work(link: Link) -> int:
            where = f"FROM {self._table} WHERE queue = ?"
            [(count,)] = link.run(f"SELECT COUNT(*) {where}", (queue,))
            link.run(f"DELETE {where}", (queue,))
            return int(count)

        return self._session.write(work)

    def listen(self, queues: Sequence[str]) -> Listener:
        """Start to listen; no database rings, so this only tells whether a look may be worth it."""
        return _Quiet(Session(self._connect, self._dialect.name, _TABLES))

    def close(self) -> None:
        """Close the connection; the next verb opens it again."""
        self._session.close()

    def _now(self) -> int:
        return int(self._clock())

    def _insert(self, link: Link, parcels: Iterable[Parcel]) -> None:
        now = self._now()
        rows: list[tuple[object, ...]] = []
        size = 0
        for parcel in parcels:
            body = storable(parcel.body)
            at = now if parcel.available_at is None else parcel.available_at
            rows.append((parcel.queue, body, 0, at, now))
            size += len(body)
            if len(rows) == _INSERT_ROWS or size > _INSERT_BYTES:
                self._insert_rows(link, rows)
                rows, size = [], 0
        if rows:
            self._insert_rows(link, rows)

    def _insert_rows(self, link: Link, rows: Sequence[tuple[object, ...]]) -> None:
        statement = self._dialect.insert(self._table, _COLUMNS, len(rows))
        link.run(statement, [value for row in rows for value in row])

    def _worth_it(self, due: "_Due") -> bool:
        """Whether a transaction is worth it: SQLite has one writer, and many idle workers."""
        if self._dialect.name != "sqlite":
            return True
        statement = f"SELECT 1 FROM {self._table} WHERE {due.condition} LIMIT 1"
        return bool(self._session.read(lambda link: link.run(statement, due.values)))

    def _reserve(
        self, link: Link, due: "_Due", limit: int, skip: Collection[str]
    ) -> list[Delivery]:
        rows = self._found(link, due, limit, skip)
        more = self._dialect.incremented("attempts")
        self._each_chunk(
            link,
            f"UPDATE{self._dialect.ignore} {self._table} SET reserved_at = ?, attempts = {more}",
            (due.now,),
            [row.id for row in rows],
        )
        lease = "" if due.lease is None else due.lease
        return [
            Delivery(due.queue, row.body, f"{row.id}:{row.attempts + 1}:{lease}", row.attempts + 1)
            for row in rows
        ]

    def _found(self, link: Link, due: "_Due", limit: int, skip: Collection[str]) -> list["_Row"]:
        """The first due rows that nobody has locked, of other classes than those in `skip`."""
        page = max(limit, _PAGE) if skip else limit
        start = f"SELECT id, payload, attempts FROM {self._table} WHERE {due.condition}"
        end = f" ORDER BY id LIMIT {page}{link.lock_for_popping}"
        rows = _rows(link.run(start + end, due.values))
        found = _others(rows, skip)
        looked = page
        while len(found) < limit and len(rows) == page and looked < _LOOK:
            rows = _rows(link.run(f"{start} AND id > ?{end}", (*due.values, rows[-1].id)))
            found += _others(rows, skip)
            looked += page
        return found[:limit]

    def _next_at(self, link: Link, due: "_Due") -> float | None:
        """When the first of the rows that are not due yet will be."""
        now, lease = due.now, due.lease
        statement = (
            "SELECT MIN(CASE WHEN reserved_at IS NULL AND available_at > ? "
            "THEN available_at END), MIN(CASE WHEN reserved_at > ? THEN reserved_at END) "
            f"FROM {self._table} WHERE queue = ?"
        )
        [(delayed, reserved)] = link.run(statement, (now, now - (lease or 0), due.queue))
        times = [] if delayed is None else [float(delayed)]
        if reserved is not None and lease is not None:
            times.append(float(reserved + lease))
        return min(times, default=None)

    def _locked(self, link: Link, deliveries: Iterable[Delivery]) -> dict[int, int]:
        """The attempts of those rows that are reserved by anybody, by id; locked, lowest first.

        MySQL's count of updated rows can't tell: rows that already were so are not in it.
        """
        found: dict[int, int] = {}
        ids = sorted({_Held.read(delivery).id for delivery in deliveries})
        for chunk in in_chunks(ids):
            statement = (
                f"SELECT id, attempts FROM {self._table} WHERE id IN {marks(chunk)} "
                f"AND reserved_at IS NOT NULL ORDER BY id{self._dialect.lock}"
            )
            found.update({row[0]: row[1] for row in link.run(statement, chunk)})
        return found

    def _apply(self, link: Link, settlements: Sequence[Settlement]) -> None:
        """Ours are settled: what is released moves to a new row, byte for byte."""
        released: dict[int, list[int]] = defaultdict(list)
        returned: list[int] = []
        gone: list[int] = []
        for each in settlements:
            id = _Held.read(each.delivery).id
            if each.verb == "bury":
                raise BrokerError(
                    "Laravel's database driver has no list of dead letters; "
                    "let failed jobs go into failed_jobs"
                )
            if each.verb == "return":
                returned.append(id)
                continue
            gone.append(id)
            if each.verb == "release":
                released[each.available_at].append(id)
        for at, ids in released.items():
            for chunk in in_chunks(ids):
                self._copy(link, chunk, at)
        self._each_chunk(link, f"DELETE FROM {self._table}", (), gone)
        back = f"UPDATE {self._table} SET reserved_at = NULL, attempts = attempts - 1"
        self._each_chunk(link, back, (), returned)
        self._insert(link, [parcel for each in settlements for parcel in each.follow])

    def _copy(self, link: Link, ids: Sequence[int], at: int) -> None:
        names = ", ".join(_COLUMNS)
        link.run(
            f"INSERT INTO {self._table} ({names}) SELECT queue, payload, attempts, {int(at)}, "
            f"{self._now()} FROM {self._table} WHERE id IN {marks(ids)} ORDER BY id",
            ids,
        )

    def _each_chunk(
        self, link: Link, statement: str, values: Sequence[object], ids: Sequence[int]
    ) -> None:
        for chunk in in_chunks(ids):
            link.run(f"{statement} WHERE id IN {marks(chunk)}", (*values, *chunk))


class _Due(NamedTuple):
    """Laravel's condition for a row that may be taken."""

    queue: str
    now: int
    lease: int | None
    condition: str
    values: tuple[object, ...]

    @staticmethod
    def of(queue: str, now: int, lease: int | None) -> "_Due":
        condition = "reserved_at IS NULL AND available_at <= ?"
        values: tuple[object, ...] = (queue, now)
        if lease is not None:  # whatever its available_at is, as Laravel has it
            condition = f"(({condition}) OR reserved_at <= ?)"
            values = (queue, now, now - lease)
        return _Due(queue, now, lease, f"queue = ? AND {condition}", values)


class _Row(NamedTuple):
    """A row that is about to be reserved."""

    id: int
    body: str
    attempts: int


class _Held(NamedTuple):
    """What `Delivery.held` says."""

    id: int
    attempts: int
    lease: int | None

    @staticmethod
    def read(delivery: Delivery) -> "_Held":
        id, attempts, lease = delivery.held.split(":")
        return _Held(int(id), int(attempts), int(lease) if lease else None)


class _Quiet:
    """A `Listener` that nobody rings."""

    def __init__(self, session: Session):
        self._session = session
        self._ear, self._mouth = socket.socketpair()
        self._seen: tuple[int, int] | None = None

    def fileno(self) -> int:
        """Never readable."""
        return self._ear.fileno()

    def arm(self) -> None:
        """Nobody rings."""

    def disarm(self) -> None:
        """Nobody rang."""

    def stirred(self) -> bool:
        """Whether somebody has written to the SQLite file; on a server one has to look."""
        if self._session.dialect.name != "sqlite":
            return True
        [(version,)] = self._session.read(lambda link: link.run("PRAGMA data_version"))
        # Each connection counts by itself: after it was opened again anything may have happened.
        now = (self._session.opened, version)
        stirred, self._seen = now != self._seen, now
        return stirred

    def close(self) -> None:
        """Let go of the sockets and the connection."""
        self._ear.close()
        self._mouth.close()
        self._session.close()


def _rows(rows: Iterable[tuple[Any, ...]]) -> list[_Row]:
    return [_Row(id, as_text(body), attempts) for id, body, attempts in rows]


def _others(rows: Sequence[_Row], skip: Collection[str]) -> list[_Row]:
    return [row for row in rows if not skip or _classes(row.body).isdisjoint(skip)]


def _classes(body: str) -> set[str]:
    """The names that a payload's job class goes by; none for what can't be read."""
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        return set()
    if not isinstance(payload, dict):
        return set()
    data = payload.get("data")
    names = [data.get("commandName") if isinstance(data, dict) else None]
    job = payload.get("job")
    names += [payload.get("displayName"), job.split("@")[0] if isinstance(job, str) else None]
    return {name for name in names if isinstance(name, str)}
