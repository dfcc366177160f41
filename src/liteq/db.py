"""Db: the SQLite file itself, for people who want SQL."""

import contextlib
import sqlite3

from liteq import brokers, config
from liteq.brokers.sqlite import SqliteBroker
from liteq.brokers.sqlite.connection import open_file
from liteq.errors import BrokerError


class Connection(sqlite3.Connection):
    """A connection that closes itself when it is no longer used, as people leave that out."""

    def __del__(self) -> None:
        """Close quietly (Python 3.13 warns of connections that nobody closed)."""
        with contextlib.suppress(sqlite3.Error):  # it may never have been opened
            self.close()


def init_db() -> None:
    """Make the tables if they are not there. Every use of the queue does so by itself."""
    _broker().database.run(lambda connection: None)


def get_conn() -> sqlite3.Connection:
    """A new connection to the file that LITEQ_DB names now, its rows readable by column name.

    The tables are there. As usual in sqlite3, `with get_conn() as conn:` commits at the end, or
    rolls back on an error. Raises BrokerError and its kinds.
    """
    broker = _broker()
    init_db()
    connection = open_file(
        broker.path,
        synchronous=broker.settings.synchronous,
        factory=Connection,
        isolation_level="IMMEDIATE",
        timeout=60,
    )
    connection.row_factory = sqlite3.Row
    return connection


def _broker() -> SqliteBroker:
    broker = brokers.current()
    if not isinstance(broker, SqliteBroker):
        raise BrokerError(f"{config.broker_url()} is no SQLite file: liteq.db only knows those")
    return broker
