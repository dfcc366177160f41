"""The SQLite broker: jobs in the table `tasks` of one file. Stores and leases; decides nothing.

A worker's lease stands in its row of `workers` and covers all that it holds, so that a heartbeat
writes one row. Leases run on the machine's steady clock: all processes that share the file share
it, and no change of the wall clock touches it.
"""

import os
import sqlite3
from collections.abc import Collection, Iterable, Sequence
from itertools import chain, count, groupby
from operator import itemgetter
from typing import Any, Protocol
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from liteq import config, times
from liteq.brokers.base import Clock
from liteq.brokers.sqlite import statements as sql
from liteq.brokers.sqlite.bell import Bell, Board, Ear
from liteq.brokers.sqlite.connection import Database
from liteq.errors import BrokerError
from liteq.job import (
    AttemptRecord,
    Change,
    Filter,
    Job,
    JobRecord,
    NewJob,
    Verdict,
    WorkerInfo,
)
from liteq.machine import boot_id

_SOON = 1.0  # seconds; a sleeping worker looks at least twice a second by itself
_ALIKE = 100  # rows a statement, of jobs that differ in their payload alone
_TOGETHER = 50  # rows a statement, of runs that ended well
_CHUNK = 500  # rows a transaction, where people act on many: others get their turn in between


_BUT_PAYLOAD = itemgetter(0, 2, 3, 4, 5, 6, 7)  # all fields of a NewJob but that one


class SqliteBroker:
    """A `Store` in one SQLite file. Opened with the first verb; one connection per process."""

    supports = frozenset({"share", "ahead", "records"})
    queues: tuple[str, ...] = ()
    lease: float | None = None  # the worker's own setting

    def __init__(self, url: str):
        """`sqlite:///relative.db` or `sqlite:////absolute.db`, with settings after a `?`."""
        parts = urlsplit(url)
        self.clock = Clock()
        self.settings = config.settings(dict(parse_qsl(parts.query)))
        self.path = os.path.abspath(unquote(parts.path[1:]))
        self.url = f"sqlite:///{quote(self.path)}" + (f"?{parts.query}" if parts.query else "")
        self.database = Database(self.path, self.settings.synchronous)
        self._board = Board(self.path)
        self._bell = Bell(self._board)
        self.payload_limit = self.settings.payload_limit
        self._claims = count(1)
        self._boot = boot_id()

    # ── the hot path ──

    def enqueue(self, jobs: Sequence[NewJob]) -> list[int]:
        """Store the jobs, all or none; their ids, in order."""
        now = self.clock.wall()
        if len(jobs) == 1:
            job = jobs[0]
            id = self.database.execute(sql.INSERT, _row(job, now)).lastrowid
            if job.due is None or job.due < now + _SOON:
                self._bell.ring((job.queue,), everybody=False)
            return [id or 0]
        if not jobs:
            return []
        with self.database.transaction() as connection:
            ids = _inserted_many(connection, jobs, now)
        # Wake sleepers for what is due now, or before they would look by themselves.
        queues = {job.queue for job in jobs if job.due is None or job.due < now + _SOON}
        if queues:
            self._bell.ring(queues, everybody=True)
        return ids

    def enqueue_on(self, connection: sqlite3.Connection, jobs: Sequence[NewJob]) -> list[int]:
        """Store the jobs in the transaction that is open on the caller's connection.

        They run within half a second of its commit. Raises BrokerError for another database.
        """
        self._check_same_file(connection)
        self.database.run(lambda own: None)  # makes the tables, if this is the first use
        now = self.clock.wall()
        return [_inserted(connection, _row(job, now)) for job in jobs]

    def claim(
        self,
        worker: str,
        queues: Sequence[str],
        limit: int,
        lease: float,
        skip: Collection[str] = (),
    ) -> list[Job]:
        """Lease up to `limit` due jobs to `worker` for `lease` seconds; see base.Broker."""
        now = times.stamp(self.clock.wall())
        peek = sql.PEEK.format(queues=", ".join("?" * len(queues)))
        ready, due, unseen = self.database.run(
            lambda c: c.execute(peek, (*queues, now)).fetchone()  # under the lock: threads share it
        )
        if limit < 1 or not (ready or due or unseen):
            return []
        with self.database.transaction() as connection:
            if unseen:
                self._see(connection)
            if due:
                connection.execute(sql.PROMOTE, (now,))
            paused = {name for name, _ in connection.execute(sql.PAUSED)}
            open_queues = [queue for queue in queues if queue not in paused]
            if not open_queues:
                return []
            receipt = f"{worker}.{next(self._claims)}."
            query, values = _claim_query(open_queues, limit, skip)
            rows = connection.execute(query, (worker, receipt, now, *values)).fetchall()
            if rows:
                until = self.clock.steady() + lease
                connection.execute(sql.LEASE, (worker, self._boot, until, now))
        rows.sort(key=_claim_order)
        return [Job(*row[:-1]) for row in rows]

    def beat(self, worker: WorkerInfo, receipts: Collection[str], lease: float) -> Verdict:
        """Renew the worker's lease; see base.Broker."""
        with self.database.transaction() as connection:
            connection.execute(sql.BEAT, self._beat_row(worker, lease))
            runs = connection.execute(sql.RUNS_OF, (worker.worker_id,)).fetchall()
            held = {receipt for _, receipt, _ in runs}
            now = times.stamp(self.clock.wall())
            unknown = [(now, id, receipt) for id, receipt, _ in runs if receipt not in receipts]
            connection.executemany(sql.UNCLAIM, unknown)
        return Verdict(
            lost={receipt for receipt in receipts if receipt not in held},
            cancelled={receipt for _, receipt, cancel in runs if cancel and receipt in receipts},
        )

    def cancellations(self, worker: str) -> list[str]:
        """Receipts of this worker's runs that somebody wants stopped."""
        return self.database.run(
            lambda connection: [
                receipt for _, receipt, _ in connection.execute(sql.CANCELLED_RUNS_OF, (worker,))
            ]
        )

    def dismissed(self, worker: str) -> str | None:
        """Nobody sends a worker away through this store."""
        return None

    def finish(self, changes: Sequence[Change], room: int = 0) -> set[int]:
        """Apply the changes whose receipt still holds; the ids of those jobs."""
        if not changes:
            return set()
        now = self.clock.wall()
        done = [change for change in changes if change.status == "done"]
        again: list[int] = []
        with self.database.transaction() as connection:
            accepted = _all_done(connection, done)
            for change in changes:
                if change.status != "done" and _applied(connection, change, now):
                    accepted.add(change.id)
                    if _soon_again(change, now):
                        again.append(change.id)
            queues = _queues_of(connection, again)
        if queues:  # whoever gives jobs back has its hands full, or leaves; others may be free
            self._bell.ring(queues, everybody=len(again) > 1)
        return accepted

    def due_in(self, queues: Sequence[str]) -> float | None:
        """Seconds until the next delayed job of any queue is due; None: there is none."""
        (run_at,) = self.database.run(lambda c: c.execute(sql.NEXT_DUE).fetchone())
        return None if run_at is None else max(0.0, times.instant(run_at) - self.clock.wall())

    def listen(self, queues: Sequence[str]) -> "SqliteListener":
        """Start to listen for work on these queues."""
        return SqliteListener(self.database, Ear(self._board, queues))

    def close(self) -> None:
        """Close the connection. The next verb opens it again."""
        self.database.close()
        self._bell.close()

    # ── questions ──

    def get(self, id: int) -> JobRecord | None:
        """One job, or None."""
        row = self.database.run(lambda c: c.execute(sql.GET, (id,)).fetchone())
        return JobRecord._make(row) if row else None

    def attempts(self, id: int) -> list[AttemptRecord]:
        """The attempts of a job that did not end well, oldest first."""
        rows = self.database.run(lambda c: c.execute(sql.ATTEMPTS, (id,)).fetchall())
        return [AttemptRecord._make(row) for row in rows]

    def find(self, which: Filter, limit: int) -> list[JobRecord]:
        """Jobs that match, newest first."""
        condition, values = _condition(which)
        query = f"SELECT {sql.RECORD} FROM tasks WHERE {condition} ORDER BY id DESC LIMIT ?"
        rows = self.database.run(lambda c: c.execute(query, (*values, limit)).fetchall())
        return [JobRecord._make(row) for row in rows]

    def count(self) -> list[tuple[str, str, int]]:
        """(queue, status, how many), sorted."""
        return self.database.run(lambda c: c.execute(sql.COUNT).fetchall())

    def oldest_due(self) -> dict[str, float]:
        """Per queue with due jobs: how many seconds its oldest one has waited."""
        now = self.clock.wall()
        ready = self.database.run(lambda c: c.execute(sql.OLDEST_READY).fetchall())
        others = self.database.run(
            lambda c: c.execute(sql.OLDEST_NOT_YET_READY, (times.stamp(now),)).fetchall()
        )
        longest = {queue: max(0.0, now - place / 1e6) for queue, place in ready}
        for queue, run_at in others:
            wait = now - _foreign_instant(run_at, now)
            if wait >= 0:
                longest[queue] = max(wait, longest.get(queue, 0.0))
        return longest

    def workers(self) -> list[WorkerInfo]:
        """The workers on record, and those only known from jobs they hold (as expired)."""
        steady = self.clock.steady()
        rows = self.database.run(lambda c: c.execute(sql.WORKERS, (self._boot, steady)).fetchall())
        strangers = self.database.run(lambda c: c.execute(sql.UNKNOWN_WORKERS).fetchall())
        known = [_worker(row) for row in rows]
        return known + [
            WorkerInfo(worker, "", (), 0, 0, "", "", 0.0, expired=True) for (worker,) in strangers
        ]

    def held(self, worker: str) -> list[Job]:
        """The jobs that are running under this worker's lease."""
        key = worker or None  # a row of LiteQ 0.2 may name none
        rows = self.database.run(lambda c: c.execute(sql.HELD, (key,)).fetchall())
        return [Job(*row) for row in rows]

    # ── actions of people ──

    def cancel(self, which: Filter) -> int:
        """Cancel pending jobs at once and ask for running ones to be stopped; how many."""
        now = times.stamp(self.clock.wall())

        def act(connection: sqlite3.Connection, ids: str) -> int:
            ended = connection.execute(sql.CANCEL_PENDING.format(ids=ids), (now,)).rowcount
            return ended + connection.execute(sql.CANCEL_RUNNING.format(ids=ids)).rowcount

        return self._in_chunks(
            which, "(status = 'pending' OR status = 'running' AND cancel = 0)", act
        )

    def revive(self, which: Filter) -> int:
        """Send failed and cancelled jobs round again with all their attempts; how many."""
        place = _place(self.clock.wall())
        queues: set[str] = set()

        def act(connection: sqlite3.Connection, ids: str) -> int:
            revived = connection.execute(sql.REVIVE.format(ids=ids), (place,)).fetchall()
            queues.update(queue for (queue,) in revived)
            return len(revived)

        total = self._in_chunks(
            which, "status <> 'pending' AND status IN ('failed', 'cancelled')", act
        )
        self._bell.ring(queues, everybody=total > 1)
        return total

    def purge(self, which: Filter) -> int:
        """Delete jobs that are not running; how many."""
        return self._in_chunks(which, "status <> 'running'", _purged)

    def prune(self, statuses: Collection[str], age: float, limit: int) -> int:
        """Delete up to `limit` jobs that ended in one of `statuses` over `age` seconds ago."""
        cutoff = times.stamp(self.clock.wall() - age)
        aged = self.database.run(lambda c: _aged(c, statuses, cutoff, limit))
        if not aged:
            return 0
        with self.database.transaction() as connection:
            return _purged(connection, _id_list(aged))

    def pause(self, queue: str) -> None:
        """Let workers claim nothing more from this queue."""
        now = times.stamp(self.clock.wall())
        with self.database.transaction() as connection:
            connection.execute(sql.PAUSE, (queue, now))

    def resume(self, queue: str) -> None:
        """Let workers claim from this queue again."""
        with self.database.transaction() as connection:
            connection.execute(sql.RESUME, (queue,))
        self._bell.ring([queue], everybody=True)

    def paused(self) -> dict[str, str]:
        """Paused queues and since when (ISO-8601 UTC text)."""
        return dict(self.database.run(lambda c: c.execute(sql.PAUSED).fetchall()))

    def forget(self, worker: str) -> None:
        """Strike a worker off the record; what it still holds counts as lost."""
        with self.database.transaction() as connection:
            connection.execute(sql.FORGET, (worker,))

    # ── how ──

    def _check_same_file(self, connection: sqlite3.Connection) -> None:
        files = [row[2] for row in connection.execute("PRAGMA database_list") if row[1] == "main"]
        if not files[0] or os.path.realpath(files[0]) != os.path.realpath(self.path):
            raise BrokerError(
                f"the connection is to {files[0] or 'a database in memory'!r}, the queue is in "
                f"{self.path!r}: one transaction can only span one file (set LITEQ_DB)"
            )

    def _see(self, connection: sqlite3.Connection) -> None:
        """Take in rows that other programs wrote with plain SQL: are they due, in which format?"""
        now = self.clock.wall()
        created = times.stamp(now)
        rows = []
        for id, *texts in connection.execute(sql.UNSEEN).fetchall():
            run_at, *call = (None if t is None else t.decode(errors="replace") for t in texts)
            due = _foreign_instant(run_at, now)
            place = _place(due) if due <= now else 0
            rows.append((place, None if run_at is None else times.stamp(due), created, *call, id))
        connection.executemany(sql.SEE, rows)

    def _beat_row(self, worker: WorkerInfo, lease: float) -> tuple[object, ...]:
        return (
            worker.worker_id,
            worker.hostname,
            ",".join(worker.queues),
            worker.concurrency,
            times.stamp(self.clock.wall()),
            worker.pid,
            worker.machine,
            worker.born,
            times.stamp(worker.started),
            worker.active,
            self._boot,
            self.clock.steady() + lease,
        )

    def _in_chunks(self, which: Filter, state: str, act: "_Action") -> int:
        """`act` on all jobs that match and are in the state, newest first, in small steps."""
        condition, values = _condition(which)
        matching = f"SELECT id FROM tasks WHERE {condition} AND {state}"
        query = f"{matching} AND id < ? ORDER BY id DESC LIMIT ?"
        total, before = 0, 2**63 - 1
        while True:
            with self.database.transaction() as connection:
                rows = connection.execute(query, (*values, before, _CHUNK)).fetchall()
                if not rows:
                    return total
                ids = [id for (id,) in rows]
                total += act(connection, _id_list(ids))
                before = ids[-1]


class SqliteListener:
    """Hears the bell, and sees other programs' writes by SQLite's own change counter."""

    def __init__(self, database: Database, ear: Ear):
        self._database = database
        self._ear = ear
        self._version = -1
        self.fileno = ear.fileno
        self.arm = ear.arm
        self.disarm = ear.disarm
        self.close = ear.close

    def stirred(self) -> bool:
        """Whether another connection has committed since the last call (3 µs)."""
        (version,) = self._database.run(lambda c: c.execute("PRAGMA data_version").fetchone())
        before, self._version = self._version, version
        return bool(before != version)


class _Action(Protocol):
    """Only for the type: what `_in_chunks` does with the ids of a chunk."""

    def __call__(self, connection: sqlite3.Connection, ids: str) -> int: ...


def _inserted(connection: sqlite3.Connection, row: tuple[object, ...]) -> int:
    return connection.execute(sql.INSERT, row).lastrowid or 0


def _inserted_many(connection: sqlite3.Connection, jobs: Sequence[NewJob], now: float) -> list[int]:
    """The ids of one transaction follow each other: nobody else can write in between."""
    for _, group in groupby(jobs, _BUT_PAYLOAD):
        alike = list(group)
        template, payloads = _row(alike[0], now)[:-1], [job.payload for job in alike]
        whole = len(payloads) - len(payloads) % _ALIKE
        if whole:
            query = sql.INSERT_ALIKE.format(payloads=", ".join(["(?)"] * _ALIKE))
            chunks = (payloads[start : start + _ALIKE] for start in range(0, whole, _ALIKE))
            connection.executemany(query, ((*template, *chunk) for chunk in chunks))
        connection.executemany(sql.INSERT, ((*template, text) for text in payloads[whole:]))
    (last,) = connection.execute("SELECT last_insert_rowid()").fetchone()
    return list(range(last - len(jobs) + 1, last + 1))


def _row(job: NewJob, now: float) -> tuple[object, ...]:
    """The values of statements.COLUMNS."""
    name, payload, queue, priority, max_retries, timeout, due, at_most_once = job
    created = times.stamp(now)
    run_at, place = None, _place(now)
    if due is not None:
        run_at, place = times.stamp(due), _place(due) if due <= now else 0
    task = (name, queue, priority, max_retries, timeout, at_most_once)
    return (*task, run_at, created, place, payload)


def _place(due: float) -> int:
    """The place in line of a job that was due then; 0 would mean that it waits."""
    return max(1, int(due * 1e6))


def _claim_query(
    queues: Sequence[str], limit: int, skip: Collection[str]
) -> tuple[str, list[object]]:
    """The statement that claims from these queues, and its values but for the first three."""
    top = sql.TOP_OF_QUEUE
    depth: list[object] = [limit]
    if skip:
        top = sql.TOP_OF_QUEUE_WITHOUT.format(names=", ".join("?" * len(skip)))
        depth = [*skip, limit]
    tops = " UNION ALL ".join([top] * len(queues))
    values = [value for queue in queues for value in (queue, *depth)]
    return sql.CLAIM.format(tops=tops), [*values, limit]


def _claim_order(row: tuple[Any, ...]) -> tuple[object, ...]:
    id, _, _, _, priority, *_, place = row
    return -priority, place, id


def _all_done(connection: sqlite3.Connection, done: Sequence[Change]) -> set[int]:
    """Apply them as one batch; only if some are refused, one by one to learn which."""
    if not done:
        return set()
    rows = [_done_row(change) for change in done]
    connection.execute("SAVEPOINT batch")
    if _done_at_once(connection, rows) == len(rows):
        return {change.id for change in done}
    connection.execute("ROLLBACK TO batch")
    return {
        change.id
        for change, row in zip(done, rows, strict=True)
        if connection.execute(sql.DONE, row).rowcount == 1
    }


def _done_at_once(connection: sqlite3.Connection, rows: list[tuple[object, ...]]) -> int:
    """How many of them took effect."""
    whole = len(rows) - len(rows) % _TOGETHER
    together = sql.DONE_TOGETHER.format(rows=", ".join(["(?, ?, ?, ?, ?)"] * _TOGETHER))
    changed = 0
    for start in range(0, whole, _TOGETHER):
        values = chain.from_iterable(rows[start : start + _TOGETHER])
        changed += connection.execute(together, list(values)).rowcount
    if whole < len(rows):
        changed += connection.executemany(sql.DONE, rows[whole:]).rowcount
    return changed


def _done_row(change: Change) -> tuple[object, ...]:
    return (
        change.result,
        times.stamp(change.started or 0.0),
        times.stamp(change.ended or 0.0),
        change.id,
        change.receipt,
    )


def _foreign_instant(run_at: object, now: float) -> float:
    """When a row written by another program is due; what cannot be read means now.

    Without a zone, `2026-01-31 09:00:00` is SQL's CURRENT_TIMESTAMP and so UTC, while
    `2026-01-31T09:00:00` is Python's isoformat() and so local time.
    """
    text = "" if run_at is None else str(run_at)
    try:
        return times.moment(text, now) if "T" in text else times.instant(text)
    except ValueError:
        return now


def _worker(row: tuple[str, str, str, int, int, str, str, str, str, int, int]) -> WorkerInfo:
    id, hostname, queues, concurrency, pid, machine, born, started, heartbeat, active, expired = row
    return WorkerInfo(
        id,
        hostname,
        tuple(filter(None, queues.split(","))),
        concurrency,
        pid,
        machine,
        born,
        _seconds(started),
        _seconds(heartbeat),
        active,
        bool(expired),
    )


def _seconds(text: str | None) -> float:
    return _foreign_instant(text, 0.0)


def _applied(connection: sqlite3.Connection, change: Change, now: float) -> bool:
    record = change.record
    if record is not None:
        ended = times.stamp(record.ended or now)
        connection.execute(
            sql.RECORD_ATTEMPT,
            (
                record.attempt,
                record.ending,
                _known(record.started),
                ended,
                ended,
                record.error,
                record.traceback,
                change.id,
                change.receipt,
            ),
        )
    if change.status == "pending":
        due, place = None, None  # at once, at its old place
        if change.due is not None:
            due, place = times.stamp(change.due), _place(change.due) if change.due <= now else 0
        values = (place, times.stamp(now), change.attempts, change.losses, change.error, due)
        cursor = connection.execute(sql.AGAIN, (*values, change.id, change.receipt))
    else:
        cursor = connection.execute(
            sql.ENDED,
            (
                change.status,
                change.attempts,
                change.losses,
                change.error,
                _known(change.started),
                times.stamp(change.ended or now),
                change.id,
                change.receipt,
            ),
        )
    return cursor.rowcount == 1


def _soon_again(change: Change, now: float) -> bool:
    return change.status == "pending" and (change.due is None or change.due < now + _SOON)


def _queues_of(connection: sqlite3.Connection, ids: Collection[int]) -> list[str]:
    if not ids:
        return []
    query = sql.QUEUES_OF.format(ids=_id_list(ids))
    return [queue for (queue,) in connection.execute(query)]


def _known(started: float | None) -> str | None:
    """The stored text; None if whoever recovered the run did not know, for the claim's time."""
    return times.stamp(started) if started else None


def _purged(connection: sqlite3.Connection, ids: str) -> int:
    (newest,) = connection.execute(sql.NEWEST).fetchone()
    connection.execute(sql.PURGE_ATTEMPTS.format(ids=ids))
    deleted = connection.execute(sql.PURGE.format(ids=ids), (newest,)).rowcount
    emptied = connection.execute(sql.PURGE_NEWEST.format(ids=ids), (newest,)).rowcount
    connection.execute(sql.PURGE_PURGED, (newest,))
    return deleted + emptied


def _aged(
    connection: sqlite3.Connection, statuses: Collection[str], cutoff: str, limit: int
) -> list[int]:
    aged: list[int] = []
    for status in statuses:
        found = connection.execute(sql.QUEUES_IN_STATE, {"status": status}).fetchall()
        for (queue,) in found:
            room = limit - len(aged)
            rows = connection.execute(sql.AGED, (status, queue, room, cutoff))
            aged += [id for (id,) in rows]
    return aged


def _id_list(ids: Iterable[int]) -> str:
    """The ids as SQL text; they are ints out of the database, so there is nothing to escape."""
    return ", ".join(str(int(id)) for id in ids)


def _condition(which: Filter) -> tuple[str, list[object]]:
    """The WHERE clause for a filter, and its values."""
    parts: list[str] = ["status <> 'purged'"]
    values: list[object] = []
    if which.ids is not None:
        parts.append(f"id IN ({_id_list(which.ids)})")
    if which.status is not None:
        parts.append("status = ?")
        values.append(which.status)
        if which.status != "pending":
            parts.append("status <> 'pending'")  # so that the index of the ended is used
    for column, value in (
        ("queue", which.queue),
        ("name", which.name),
        ("worker_id", which.worker),
    ):
        if value is not None:
            parts.append(f"{column} = ?")
            values.append(value)
    if which.text is not None:
        text = which.text.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
        pattern = f"%{text}%"
        parts.append(
            r"(name LIKE ? ESCAPE '\' OR payload LIKE ? ESCAPE '\' OR error LIKE ? ESCAPE '\')"
        )
        values += [pattern] * 3
    if which.before is not None:
        parts.append("id < ?")
        values.append(which.before)
    return " AND ".join(parts), values
