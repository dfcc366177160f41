"""Schema: makes the tables, and brings an older file up to date. Additive only.

An older worker must go on working on a file that a newer one has migrated, so a step may add
tables, columns with defaults and indexes, and never takes or renames any.
"""

import os
import sqlite3

from liteq.errors import SchemaTooNew

VERSION = 1  # PRAGMA user_version
_NEXT_GENERATION = 1000  # versions below are additive: an older LiteQ can work with them
_SCHEMA = os.path.join(os.path.dirname(__file__), "schema.sql")

# A file of LiteQ 0.2 (user_version 0) has these tables with fewer columns.
_ADDED = {
    "tasks": {
        "priority": "INTEGER NOT NULL DEFAULT 0",
        "attempts": "INTEGER NOT NULL DEFAULT 0",
        "max_retries": "INTEGER NOT NULL DEFAULT 3",
        "worker_id": "TEXT",
        "run_at": "TEXT",
        "created_at": "TEXT",
        "started_at": "TEXT",
        "finished_at": "TEXT",
        "result": "TEXT",
        "error": "TEXT",
        "timeout": "REAL",
        "place": "INTEGER",
        "receipt": "TEXT",
        "losses": "INTEGER NOT NULL DEFAULT 0",
        "cancel": "INTEGER NOT NULL DEFAULT 0",
        "at_most_once": "INTEGER NOT NULL DEFAULT 0",
        "keep": "INTEGER NOT NULL DEFAULT 0",
    },
    "workers": {
        "hostname": "TEXT",
        "queues": "TEXT",
        "concurrency": "INTEGER",
        "last_heartbeat": "TEXT",
        "pid": "INTEGER",
        "machine": "TEXT",
        "born": "TEXT",
        "started_at": "TEXT",
        "active": "INTEGER NOT NULL DEFAULT 0",
        "boot": "TEXT",
        "lease_until": "REAL",
    },
}
_TIMES = ("run_at", "created_at", "started_at", "finished_at")


def ensure(connection: sqlite3.Connection, path: str) -> None:
    """Make or migrate the tables, once, in one transaction; later calls cost one PRAGMA.

    Raises SchemaTooNew for a file that a newer LiteQ has changed beyond what this one knows.
    """
    if _version(connection, path) >= VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        if _version(connection, path) < VERSION:  # another process may have been first
            _migrate(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection, path: str) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version >= _NEXT_GENERATION:
        raise SchemaTooNew(
            f"{path} has schema version {version}, which this LiteQ ({VERSION}) cannot work with; "
            "upgrade liteq"
        )
    return int(version)


def _migrate(connection: sqlite3.Connection) -> None:
    for table, columns in _ADDED.items():
        present = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
        if present:
            for name, kind in columns.items():
                if name not in present:
                    connection.execute(f"ALTER TABLE {table} ADD COLUMN {name} {kind}")
            if table == "tasks":
                _settle_times(connection)
                connection.execute("UPDATE tasks SET keep = 1 WHERE finished_at IS NOT NULL")
    with open(_SCHEMA, encoding="utf-8") as file:
        for statement in _statements(file.read()):
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {VERSION}")


def _settle_times(connection: sqlite3.Connection) -> None:
    """LiteQ 0.2 wrote `2026-01-31 09:00:00` for UTC, `2026-01-31T09:00:00.123` for local time."""
    for column in _TIMES:
        connection.execute(
            f"""
            UPDATE tasks SET {column} = CASE
                WHEN {column} LIKE '%T%' THEN strftime('%Y-%m-%dT%H:%M:%f000Z', {column}, 'utc')
                ELSE strftime('%Y-%m-%dT%H:%M:%f000Z', {column})
            END
            WHERE {column} IS NOT NULL AND {column} NOT LIKE '%Z'
              AND strftime('%Y', {column}) IS NOT NULL
            """
        )


def _statements(script: str) -> list[str]:
    """The script's statements; executescript() would commit the transaction we are in."""
    statements, start = [], 0
    for end, character in enumerate(script):
        if character == ";" and sqlite3.complete_statement(script[start : end + 1]):
            statements.append(script[start : end + 1])
            start = end + 1
    return statements
