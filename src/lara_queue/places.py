"""Places: where the parts of a Laravel queue are, and their URLs. Pure.

How they are found in a project is project's business.
"""

import re
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import quote, unquote

from lara_queue.phpconfig import Value

_DRIVERS = {  # the schemes of database URLs that mean another driver
    "mssql": "sqlsrv", "mysql2": "mysql", "postgres": "pgsql", "postgresql": "pgsql",
    "sqlite3": "sqlite",
}  # fmt: skip
_SECRETS = ("app_key", "previous_keys", "password")
_URL = re.compile(
    r"(?:([A-Za-z][\w+.-]*):)?//"
    r"(?:(?:([^:@/?#]*)(?::([^/?#]*))?@)?(\[[^]/]*\]|[^:/?#@]*)(?::(\d*))?)?"
    r"(/[^?#]*)?(?:\?([^#]*))?(?:#.*)?",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True, repr=False)
class Redis:
    """A Redis server as a queue sees it. None where a value is not set, or could not be known."""

    scheme: str  # "redis", "rediss" (TLS) or "unix"
    host: str | None  # a cluster's first node
    port: int | None
    socket: str | None  # path of a Unix socket, instead of host and port
    username: str | None
    password: str | None
    database: int | None
    prefix: str | None  # of every key; "" is none
    cluster: bool
    url: str | None  # as the project gives it, where it does

    def __repr__(self) -> str:
        return masked(self)


@dataclass(frozen=True, slots=True, repr=False)
class Database:
    """Where the table of a queue is."""

    driver: str | None  # Laravel's name: "sqlite", "mysql", "mariadb", "pgsql", "sqlsrv"
    url: str | None  # sqlite:////path, mysql://…, postgresql://…; None where it is not known
    prefix: str  # of the names of all tables
    table: str  # with the prefix

    def __repr__(self) -> str:
        return masked(self)


@dataclass(frozen=True, slots=True, repr=False)
class Cache:
    """Laravel's cache, where restarts, pauses, unique locks and counters of exceptions are."""

    store: str | None
    driver: str | None  # "redis" and "database" can be within Python's reach
    shared: bool  # whether all is known that a worker must know to use it
    connection: str | None = None  # the name of a Redis or database connection
    prefix: str | None = None  # whole: up to Laravel 10 a colon is added to it on Redis
    redis_prefix: str | None = None  # of every key of that Redis connection
    database: int | None = None  # number of the Redis database
    lock_database: int | None = None  # locks often lie in another one
    table: str | None = None
    lock_table: str | None = None
    url: str | None = None  # of its server, where that is not the queue's own

    def __repr__(self) -> str:
        return masked(self)


@dataclass(frozen=True, slots=True, repr=False)
class Failed:
    """Where failed jobs are put on record."""

    driver: str | None  # "database-uuids", "database", "file", "dynamodb" or "null"
    url: str | None
    table: str | None

    def __repr__(self) -> str:
        return masked(self)


@dataclass(frozen=True, slots=True, repr=False)
class Batching:
    """Where batches are counted."""

    url: str | None
    table: str | None

    def __repr__(self) -> str:
        return masked(self)


@dataclass(frozen=True, slots=True)
class Horizon:
    """The dashboard, where `laravel/horizon` is installed."""

    installed: bool
    connection: str | None  # the name of its Redis connection
    prefix: str | None  # of its keys, instead of the Redis connection's own
    shared: bool  # whether it is in the same Redis database as the queue


def masked(record: Any) -> str:
    """A dataclass' repr, with asterisks for keys and for passwords, also those within URLs."""
    shown = []
    for each in fields(record):
        value = getattr(record, each.name)
        if each.name == "needed":
            continue
        if each.name in _SECRETS and value:
            value = "***"
        if isinstance(value, str):
            value = re.sub(r"(://[^/?#]*?):[^/?#]*@", r"\1:***@", value)
        shown.append(f"{each.name}={value!r}")
    return f"{type(record).__name__}({', '.join(shown)})"


def same_server(one: Redis, other: Redis) -> bool:
    """Whether both are one server, perhaps two of its databases."""
    return (one.scheme, one.host, one.port, one.socket) == (
        other.scheme, other.host, other.port, other.socket,
    )  # fmt: skip


def login(username: str | None, password: str | None) -> str:
    """What stands before a URL's host: `user:password@`, `:password@` or nothing."""
    if not username and not password:
        return ""
    hidden = f":{quote(password, safe='')}" if password else ""
    return f"{quote(username or '', safe='')}{hidden}@"


def hosted(host: str | None, port: int | None) -> str:
    """A URL's host and port."""
    name = f"[{host}]" if ":" in (host or "") else quote(host or "", safe="")
    return name if port is None else f"{name}:{port}"


def redis_url(redis: Redis) -> str:
    """The URL of a Redis database, as redis-py takes it."""
    user = login(redis.username, redis.password)
    if redis.scheme == "unix":
        return f"unix://{user}{quote(redis.socket or '')}?db={redis.database}"
    return f"{redis.scheme}://{user}{hosted(redis.host, redis.port)}/{redis.database}"


def url_parts(url: str, label: str) -> dict[str | int, Value]:
    """The settings that a connection's URL stands for."""
    found = _URL.fullmatch(url)
    if found is None:
        raise ValueError(f"{label} is no URL")
    scheme, user, password, host, port, path, query = found.groups()
    parts: dict[str | int, Value] = {}
    if scheme:
        parts["driver"] = _DRIVERS.get(scheme, scheme)
    database = (path or "")[1:]
    for name, value in (
        ("host", host), ("port", port), ("username", user), ("password", password),
        ("database", database),
    ):  # fmt: skip
        if value:
            parts[name] = unquote(value)
    for pair in (query or "").split("&"):
        key, _, value = pair.partition("=")
        if key:
            parts[unquote(key.replace("+", " "))] = unquote(value.replace("+", " "))
    return parts
