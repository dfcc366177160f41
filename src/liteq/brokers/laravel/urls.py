"""Urls: a Laravel queue in one line, `laravel+redis://localhost:6379/0?prefix=…&queues=…`.

    laravel+redis, laravel+rediss (TLS), laravel+unix     Laravel's `redis` driver
    laravel+sqlite, laravel+postgresql, laravel+mysql     Laravel's `database` driver

What follows the `?`, each as in Laravel's own configuration:

    laravel        its version, by which it names keys, 8 to 13; 12
    queues         names in order of priority; default
    retry_after    seconds, as in config/queue.php; 90; `none`: reservations never run out
    connection     Laravel's name of the queue connection; redis or database
    queue          the connection's own queue; default
    tries          for jobs that do not say; the task's own
    prefix         of keys on Redis; laravel_database_, or laravel-database- for laravel=13
    cluster        1: braces around queue names, as Laravel 13.5 has them on a cluster
    table          of jobs in a database; jobs
    cache_prefix   of Laravel's cache; laravel_cache_, or as that version has it
    cache_db       number of the Redis database that the cache is in (mostly 1); the queue's
    lock_db        number of the one that its locks are in (mostly 0); the queue's
    cache          another place of the cache: a URL of a Redis or a database; `none`: no cache
    failed         URL of the database with failed_jobs and job_batches; a database driver's own;
                   on Redis without one, failures are kept in a list of dead letters
    failed_table   failed_jobs
    batches_table  job_batches
    horizon        Horizon's prefix, such as laravel_horizon: ; none

The application's key is never part of a URL: it is read from LARAVEL_APP_KEY or APP_KEY, former
ones from LARAVEL_APP_PREVIOUS_KEYS or APP_PREVIOUS_KEYS.
"""

import os
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode, urlsplit

from liteq.brokers.laravel import client
from liteq.brokers.laravel.base import Cache, Driver, Ledger
from liteq.brokers.laravel.broker import LaravelBroker
from liteq.brokers.laravel.database import DatabaseDriver, connector
from liteq.brokers.laravel.database_cache import DatabaseCache
from liteq.brokers.laravel.ledger import DatabaseLedger
from liteq.brokers.laravel.redis import Keys, RedisCache, RedisDriver
from liteq.brokers.laravel.site import RETRY_AFTER, Site
from liteq.laravel import naming
from liteq.laravel.encryption import Encrypter
from liteq.laravel.horizon import Horizon

SCHEMES = ("redis", "rediss", "unix", "sqlite", "postgresql", "postgres", "mysql", "mariadb")
_REDIS = ("redis", "rediss", "unix")
_NAMES = frozenset(
    "laravel queues retry_after connection queue tries prefix cluster table cache_prefix cache_db "
    "lock_db cache failed failed_table batches_table horizon".split()
)


def broker(url: str) -> LaravelBroker:
    """The broker that a laravel+… URL means. Raises ValueError naming what it cannot read."""
    place, given = _split(url)
    if urlsplit(place).scheme in _REDIS:
        return LaravelBroker(_shown(url), _redis_driver(place, given), _redis_site(place, given))
    connect, dialect = connector(place)
    driver = DatabaseDriver(connect, dialect, given.get("table", "jobs"))
    return LaravelBroker(_shown(url), driver, _database_site(place, given))


def encrypter_from_environment() -> Encrypter | None:
    """What APP_KEY and APP_PREVIOUS_KEYS say, with or without LARAVEL_ before them."""
    key = os.environ.get("LARAVEL_APP_KEY") or os.environ.get("APP_KEY")
    if not key:
        return None
    previous = os.environ.get("LARAVEL_APP_PREVIOUS_KEYS") or os.environ.get("APP_PREVIOUS_KEYS")
    return Encrypter(key, [each.strip() for each in (previous or "").split(",") if each.strip()])


def cache_from(
    url: str, prefix: str, redis_prefix: str, locks: client.Client | None = None
) -> Cache:
    """Laravel's cache in this Redis or database; `locks`: another Redis database for its locks."""
    if urlsplit(url).scheme in _REDIS:
        return RedisCache(client.connect(url), redis_prefix + prefix, locks)
    return DatabaseCache(*connector(url), prefix)


def _split(url: str) -> tuple[str, dict[str, str]]:
    """The URL of the server or file, and our own parameters; others stay with the server."""
    # Cut as text: urlunsplit would take slashes away from sqlite:// and unix://.
    place, _, query = url.removeprefix("laravel+").partition("?")
    if not url.startswith("laravel+") or place.partition("://")[0] not in SCHEMES:
        raise ValueError(
            f"no Laravel queue for the URL {_shown(url)!r}; it begins with one of "
            + ", ".join(f"laravel+{scheme}://" for scheme in SCHEMES)
        )
    pairs = parse_qsl(query, keep_blank_values=True)
    given = {name: value for name, value in pairs if name in _NAMES}
    others = urlencode([pair for pair in pairs if pair[0] not in _NAMES])
    return f"{place}?{others}" if others else place, given


def _redis_driver(place: str, given: Mapping[str, str]) -> Driver:
    keys = Keys(_redis_prefix(given), given.get("cluster") in ("1", "true"))
    return RedisDriver(client.connect(place), keys)


def _redis_prefix(given: Mapping[str, str]) -> str:
    return given.get("prefix", naming.redis_prefix(_version(given)))


def _cache_prefix(given: Mapping[str, str]) -> str:
    return given.get("cache_prefix", naming.cache_prefix(_version(given)))


def _version(given: Mapping[str, str]) -> int:
    text = given.get("laravel", str(naming.USUAL))
    return naming.checked(int(text) if text.isdigit() else text)


def _redis_site(place: str, given: Mapping[str, str]) -> Site:
    cache: Cache | None = None
    if given.get("cache") != "none":
        where = given.get("cache") or _other_database(place, given.get("cache_db"))
        locks = client.connect(_other_database(place, given.get("lock_db")))
        cache = cache_from(where, _cache_prefix(given), _redis_prefix(given), locks)
    ledger = _ledger(given["failed"], given) if given.get("failed") else None
    return _site("redis", given, cache, ledger)


def _database_site(place: str, given: Mapping[str, str]) -> Site:
    cache: Cache | None = None
    if given.get("cache") != "none":
        where = given.get("cache") or place
        cache = cache_from(where, _cache_prefix(given), _redis_prefix(given))
    return _site("database", given, cache, _ledger(given.get("failed") or place, given))


def _site(
    driver: str, given: Mapping[str, str], cache: Cache | None, ledger: Ledger | None
) -> Site:
    connection = given.get("connection", driver)
    queue = given.get("queue", "default")
    queues = [name.strip() for name in given.get("queues", queue).split(",") if name.strip()]
    prefix = given.get("horizon")
    return Site(
        laravel=_version(given),
        connection=connection,
        queues=tuple(queues),
        default_queue=queue,
        retry_after=_seconds(given.get("retry_after", str(RETRY_AFTER))),
        tries=_number("tries", given["tries"]) if "tries" in given else None,
        encrypter=encrypter_from_environment(),
        cache=cache,
        ledger=ledger,
        horizon=Horizon(prefix, connection) if prefix else None,
    )


def _ledger(url: str, given: Mapping[str, str]) -> Ledger:
    connect, dialect = connector(url)
    return DatabaseLedger(
        connect,
        dialect,
        given.get("failed_table", "failed_jobs"),
        given.get("batches_table", "job_batches"),
    )


def _other_database(place: str, number: str | None) -> str:
    """The same Redis, another of its numbered databases."""
    if number is None:
        return place
    server, _, query = place.partition("?")
    pairs = [pair for pair in parse_qsl(query) if pair[0] != "db"]
    return f"{server}?{urlencode([*pairs, ('db', _number('cache_db or lock_db', number))])}"


def _seconds(text: str) -> int | None:
    if text in ("none", "null"):
        return None
    number = _number("retry_after", text)
    if number < 1:
        raise ValueError(f"retry_after={text!r} must be at least 1 second, or none")
    return number


def _number(name: str, text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"{name}={text!r} (from the URL) is not a whole number")
    return int(text)


def _shown(url: str) -> str:
    """The URL without its password, for messages."""
    password = urlsplit(url).password
    return url.replace(f":{password}@", ":***@", 1) if password else url
