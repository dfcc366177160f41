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
    cluster        1: a Redis Cluster, where Laravel 13.5 and newer put braces around queue names
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

Other parameters go to the server's client: those of redis-py, libpq or PyMySQL.

The application's key is never part of a URL: it is read from LARAVEL_APP_KEY or APP_KEY, former
ones from LARAVEL_APP_PREVIOUS_KEYS or APP_PREVIOUS_KEYS.
"""

import os
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

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
_PASSWORD = re.compile(r"(://[^/?#@:]*:)[^/?#]*@")
_UNKNOWN = (
    "no parameter is named {!r} (in the URL); beside those of the server's client there are {}"
)
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
        return RedisCache(_connect(url), redis_prefix + prefix, locks)
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
    _refuse_unknown(place.partition("://")[0], [name for name, _ in pairs if name not in _NAMES])
    others = urlencode([pair for pair in pairs if pair[0] not in _NAMES])
    return f"{place}?{others}" if others else place, given


def _refuse_unknown(scheme: str, others: Sequence[str]) -> None:
    """A misspelt parameter must not do nothing. What else there is, is for the client to say."""
    if scheme in _REDIS:  # its client says so, see `_connect`
        return
    for name in others:
        if scheme == "sqlite" or get_close_matches(name, _NAMES, 1, cutoff=0.8):
            raise ValueError(_UNKNOWN.format(name, ", ".join(sorted(_NAMES))))


def _connect(url: str, *, cluster: bool = False) -> client.Client:
    try:
        return client.connect(url, cluster=cluster)
    except TypeError as error:  # "… got an unexpected keyword argument 'foo'"
        name = str(error).rpartition(" ")[2].strip("'")
        raise ValueError(_UNKNOWN.format(name, ", ".join(sorted(_NAMES)))) from None


def _redis_driver(place: str, given: Mapping[str, str]) -> Driver:
    cluster = _is_cluster(given)
    return RedisDriver(_connect(place, cluster=cluster), Keys(_redis_prefix(given), cluster))


def _is_cluster(given: Mapping[str, str]) -> bool:
    text = given.get("cluster", "0")
    if text not in ("0", "1"):
        raise ValueError(f"cluster={text!r} (from the URL) must be 0 or 1")
    return text == "1"


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
        cache = _redis_cache(place, given)
    ledger = _ledger(given["failed"], given) if given.get("failed") else None
    return _site("redis", given, cache, ledger)


def _redis_cache(place: str, given: Mapping[str, str]) -> Cache:
    if _is_cluster(given) and not given.get("cache"):  # it has no databases by number
        cache = _connect(place, cluster=True)
        return RedisCache(cache, _redis_prefix(given) + _cache_prefix(given))
    where = given.get("cache") or _other_database(place, given.get("cache_db"))
    locks = _connect(_other_database(place, given.get("lock_db")))
    return cache_from(where, _cache_prefix(given), _redis_prefix(given), locks)


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
    if not queues:
        raise ValueError(f"queues={given.get('queues', queue)!r} (from the URL) names no queue")
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
    """The URL without passwords, for messages; also within the URLs that it has as parameters."""
    shown = _PASSWORD.sub(r"\1***@", url)
    place, mark, query = shown.partition("?")
    pairs = [pair.partition("=") for pair in query.split("&")]
    shown_pairs = [f"{name}{equal}{_shown_value(name, value)}" for name, equal, value in pairs]
    return place + mark + "&".join(shown_pairs)


def _shown_value(name: str, value: str) -> str:
    if name == "password":
        return "***"
    said = unquote(value)
    return _shown(said) if "://" in said and _shown(said) != said else value
