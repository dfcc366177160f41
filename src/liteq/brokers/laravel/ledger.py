"""Laravel's tables of failed jobs and of batches, which may lie beside a queue on Redis."""

import base64
import binascii
import json
import logging
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, Literal

from liteq.brokers.laravel.connection import Link, Session, as_text, storable
from liteq.errors import UnreadablePayload
from liteq.laravel import phpserialize

logger = logging.getLogger(__name__)

_TABLES = (
    "create the table with php artisan make:queue-failed-table or make:queue-batches-table "
    "(queue:failed-table, queue:batches-table up to Laravel 10) and php artisan migrate"
)
_FAILED = ("uuid", "connection", "queue", "payload", "exception", "failed_at")


class DatabaseLedger:
    """The `Ledger` on Laravel's own tables."""

    def __init__(
        self,
        connect: Callable[[], Any],
        dialect: str,
        failed_table: str = "failed_jobs",
        batches_table: str = "job_batches",
        failed_driver: Literal["database-uuids", "database"] = "database-uuids",
        *,
        clock: Callable[[], float] = time.time,
    ):
        """`failed_driver` is Laravel's `queue.failed.driver`: `database` has no uuids."""
        if failed_driver not in {"database-uuids", "database"}:
            raise ValueError(
                f"{failed_driver!r} is no table of failed jobs; there are database-uuids and "
                "database"
            )
        self._session = Session(connect, dialect, _TABLES)
        self._dialect = self._session.dialect
        self._failed = self._dialect.quoted(failed_table)
        self._batches = self._dialect.quoted(batches_table)
        self._with_uuids = failed_driver == "database-uuids"
        self._clock = clock

    def failed(self, uuid: str, connection: str, queue: str, body: str, exception: str) -> None:
        """Put a payload on record as failed; once for each uuid, if the table has uuids."""
        at = datetime.fromtimestamp(self._clock(), timezone.utc)
        row = (uuid, connection, queue, body, exception, f"{at:%Y-%m-%d %H:%M:%S}")
        values = [storable(text) for text in row]
        if self._with_uuids:
            statement = self._dialect.insert_new(self._failed, _FAILED, "uuid")
        else:
            statement = self._dialect.insert(self._failed, _FAILED[1:])
            del values[0]
        self._session.write(lambda link: link.run(statement, values))

    def batch_succeeded(self, batch: str, uuid: str, now: int) -> bool:
        """Count a batch's job as done; whether that was its last one."""

        def work(link: Link) -> bool:
            found = self._batch(link, batch)
            if found is None:
                return False
            pending, _, ids, _ = found
            pending -= 1
            ids = [each for each in ids if each != uuid]
            self._update(link, batch, "pending_jobs = ?, failed_job_ids = ?", pending, _json(ids))
            if pending == 0:
                self._update(link, batch, "finished_at = ?", now)
            return pending == 0

        return self._session.write(work)

    def batch_failed(self, batch: str, uuid: str, now: int) -> None:
        """Count a batch's job as failed; the first cancels the batch unless it allows failures."""

        def work(link: Link) -> None:
            found = self._batch(link, batch)
            if found is None:
                return
            _, failed, ids, options = found
            failed += 1
            ids = list(dict.fromkeys([*ids, uuid]))
            self._update(link, batch, "failed_jobs = ?, failed_job_ids = ?", failed, _json(ids))
            if failed == 1 and not _allows_failures(options, batch):
                self._update(link, batch, "cancelled_at = ?, finished_at = ?", now, now)

        self._session.write(work)

    def batch_cancelled(self, batch: str) -> bool:
        """Whether the batch was cancelled, or is gone."""
        statement = f"SELECT cancelled_at FROM {self._batches} WHERE id = ?"
        rows = self._session.read(lambda link: link.run(statement, (batch,)))
        return not rows or rows[0][0] is not None

    def close(self) -> None:
        """Close the connection; the next question opens it again."""
        self._session.close()

    def _batch(self, link: Link, batch: str) -> tuple[int, int, list[str], str] | None:
        """A batch's pending and failed jobs, the uuids of those, and its options; locked."""
        rows = link.run(
            f"SELECT pending_jobs, failed_jobs, failed_job_ids, options FROM {self._batches} "
            f"WHERE id = ?{self._dialect.lock}",
            (batch,),
        )
        if not rows:
            return None
        pending, failed, ids, options = rows[0]
        uuids = json.loads(as_text(ids) or "[]")
        # PHP writes a list with gaps as an object.
        listed = list(uuids.values()) if isinstance(uuids, dict) else uuids
        return pending, failed, listed, as_text(options)

    def _update(self, link: Link, batch: str, changes: str, *values: object) -> None:
        link.run(f"UPDATE {self._batches} SET {changes} WHERE id = ?", (*values, batch))


def _allows_failures(options: str, batch: str) -> bool:
    """What a batch's serialize()d options say; Laravel wants exactly `true` there."""
    if not options:
        return False
    try:
        if ":" not in options and ";" not in options:  # as Laravel does it on PostgreSQL
            found = phpserialize.loads(base64.b64decode(options, validate=True))
        else:
            found = phpserialize.loads(options.encode())
    except (binascii.Error, UnreadablePayload) as error:
        logger.warning(
            "batch %s: its options can't be read (%s); taken as not allowing failures",
            *(batch, error),
        )
        return False
    return isinstance(found, dict) and found.get("allowFailures") is True


def _json(ids: list[str]) -> str:
    return json.dumps(ids, separators=(",", ":"))
