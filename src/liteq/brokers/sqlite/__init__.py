"""SQLite: the embedded broker. `broker` has the verbs, `statements` the SQL, `connection` the
care of the file, `schema` its tables, `bell` the waking, `filesystem` where it may lie.
"""

from liteq.brokers.sqlite.broker import SqliteBroker

__all__ = ["SqliteBroker"]
