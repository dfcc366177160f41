"""Databases with Laravel's tables for tests: SQLite, PostgreSQL, MariaDB, each empty."""

import contextlib
import sqlite3

import artisan

from liteq.brokers.laravel.connection import connector

KINDS = ("sqlite", "postgresql", "mariadb")

# As Laravel's own migrations make them; test_laravel_itself has Laravel check the first three.
TABLES = {
    "jobs": (
        "id {id}, queue {string} not null, payload {long} not null, attempts {tiny} not null, "
        "reserved_at {int}, available_at {int} not null, created_at {int} not null{index}"
    ),
    "failed_jobs": (
        "id {id}, uuid {string} not null unique, connection {text} not null, "
        "queue {text} not null, payload {long} not null, exception {long} not null, "
        "failed_at {stamp} default CURRENT_TIMESTAMP not null"
    ),
    "old_failed_jobs": (  # of Laravel up to 7, which the failed driver `database` still takes
        "id {id}, connection {text} not null, queue {text} not null, payload {long} not null, "
        "exception {long} not null, failed_at {stamp} default CURRENT_TIMESTAMP not null"
    ),
    "job_batches": (
        "id {string} primary key, name {string} not null, total_jobs {sint} not null, "
        "pending_jobs {sint} not null, failed_jobs {sint} not null, failed_job_ids {long} not null,"
        " options {long}, cancelled_at {sint}, created_at {sint} not null, finished_at {sint}"
    ),
    "cache": "{key} {string} primary key, value {long} not null, expiration {sint} not null",
    "cache_locks": "{key} {string} primary key, owner {string} not null, "
    "expiration {sint} not null",
}
TYPES = {
    "sqlite": {
        "id": "integer not null primary key autoincrement",
        "string": "varchar",
        "text": "text",
        "long": "text",
        "tiny": "integer",
        "int": "integer",
        "sint": "integer",
        "stamp": "datetime",
        "key": '"key"',
        "index": "",
    },
    "postgresql": {
        "id": "bigserial primary key",
        "string": "varchar(255)",
        "text": "text",
        "long": "text",
        "tiny": "smallint",
        "int": "integer",
        "sint": "integer",
        "stamp": "timestamp(0) without time zone",
        "key": '"key"',
        "index": "",
    },
    "mariadb": {
        "id": "bigint unsigned not null auto_increment primary key",
        "string": "varchar(255)",
        "text": "text",
        "long": "longtext",
        "tiny": "tinyint unsigned",
        "int": "int unsigned",
        "sint": "int",
        "stamp": "timestamp",
        "key": "`key`",
        "index": ", index jobs_queue_index (queue)",
    },
}


class Database:
    """A database with Laravel's tables, all empty."""

    def __init__(self, kind, url, server=None):
        self.kind = kind
        self.url = url
        self.server = server
        self.connect, self.dialect = connector(url)

    def run(self, statement, *values):
        """Run a statement with `?` for values by itself; its rows."""
        with contextlib.closing(self.connect()) as connection:
            cursor = connection.cursor()
            style = "?" if self.kind == "sqlite" else "%s"
            cursor.execute(statement.replace("?", style), values)
            rows = cursor.fetchall() if cursor.description else []
            connection.commit()
        return [tuple(row) for row in rows]

    def jobs(self, columns="queue, attempts, reserved_at, available_at"):
        """The rows of `jobs`, oldest first."""
        return self.run(f"SELECT {columns} FROM jobs ORDER BY id")

    def for_laravel(self, laravel, need):
        """The Laravel, told to have its tables and queues here."""
        driver = {"postgresql": "pgsql", "mariadb": "mysql"}.get(self.kind, self.kind)
        need(f"pdo_{driver}" in artisan.extensions(), f"PHP's pdo_{driver}")
        laravel.env |= {"QUEUE_CONNECTION": "database", "DB_CONNECTION": driver}
        if self.server is None:
            laravel.env["DB_FILE"] = self.url.removeprefix("sqlite:///")
        else:
            name = self.server.name
            laravel.env |= {"DB_PORT": self.server.port, "DB_DATABASE": name, "DB_USERNAME": name}
        return laravel


def fresh(kind, request, tmp_path):
    """A `Database`; skips where there is no such server."""
    if kind == "sqlite":
        sqlite3.connect(tmp_path / "tables.sqlite").close()
        database = Database(kind, f"sqlite:///{tmp_path}/tables.sqlite")
    elif kind == "postgresql":
        server = request.getfixturevalue("postgres_server")
        database = Database(kind, f"postgresql://laravel@127.0.0.1:{server.port}/laravel", server)
    else:
        server = request.getfixturevalue("mariadb_server")
        database = Database(kind, f"mariadb://laravel@127.0.0.1:{server.port}/laravel", server)
    _empty(database)
    return database


def _empty(database):
    """Make the tables, or empty them: on a server that is ten times faster than making them."""
    with contextlib.closing(database.connect()) as connection:
        cursor = connection.cursor()
        cursor.execute("DROP TABLE IF EXISTS app_jobs")
        for name, columns in TABLES.items():
            types = TYPES[database.kind]
            cursor.execute(f"CREATE TABLE IF NOT EXISTS {name} ({columns.format(**types)})")
            cursor.execute(f"DELETE FROM {name}")
        if database.kind != "mariadb":
            cursor.execute("CREATE INDEX IF NOT EXISTS jobs_queue_index ON jobs (queue)")
        connection.commit()
