"""Settings: what a queue of `lara_queue` may be told, documented once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from liteq.backoff import DEFAULT, RetryPolicy
from liteq.brokers.laravel.base import Ledger
from liteq.brokers.laravel.site import RETRY_AFTER
from liteq.laravel import naming


@dataclass(frozen=True, slots=True)
class FailedJob:
    """A job that has failed for good, as a function given as `failed=` gets it."""

    uuid: str
    connection: str
    queue: str
    payload: str  # JSON text, as Laravel's failed_jobs has it
    exception: str  # what was raised, and where


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of a `Queue` or `AsyncQueue`. What is Laravel's must be the same as there.

    Raises ValueError for a value that makes no sense, naming it.
    """

    laravel: int = naming.USUAL
    """Laravel's version, 8 to 13: it has named keys differently over time."""

    prefix: str | None = None
    """Redis' key prefix, `database.redis.options.prefix`; None: `laravel_database_`, or as named
    by that version."""

    cluster: bool = False
    """Braces around queue names, as Laravel 13.5 and newer put them on a Redis Cluster."""

    connection: str = "redis"
    """Laravel's name of the queue connection: on record with failures, and in Horizon."""

    default_queue: str = "default"
    """The connection's own queue, on which a chain goes on that names none."""

    retry_after: int | None = RETRY_AFTER
    """Seconds until a job whose worker is gone is run again; None: never."""

    cache_prefix: str | None = None
    """Prefix of Laravel's cache, whole; None: `laravel_cache_`, or as named by that version."""

    cache: str | None = None
    """URL of Laravel's cache, which has restart and pause signals: redis://…, sqlite:///… and so
    on, or "none". None: the queue's own Redis (Laravel mostly has it in database 1, so give that);
    with the database driver none."""

    app_key: str | None = field(default=None, repr=False)
    """APP_KEY, to read and write encrypted jobs; without it LARAVEL_APP_KEY or APP_KEY is read."""

    previous_keys: Sequence[str] = field(default=(), repr=False)
    """APP_PREVIOUS_KEYS, to read what former keys have encrypted."""

    max_retries: int = 3
    """How many more runs may follow the first, for jobs that do not say (`tries` in PHP)."""

    retry: RetryPolicy = DEFAULT
    """Waits between runs, for jobs that do not say (`backoff` in PHP); which errors deserve one."""

    timeout: float | None = None
    """Seconds until a run is stopped, for jobs that do not say (`timeout` in PHP)."""

    grace: float = 30.0
    """Seconds that a running job is left when the queue is told to stop."""

    processes: int = 0
    """Run handlers in so many processes; 0: in this one. They must be functions of a module then.

    `Queue` can stop them whatever they do. With `AsyncQueue` this is for its plain handlers alone.
    """

    failed: str | Ledger | Callable[[FailedJob], object] | None = None
    """Where jobs that have failed for good go: URL of the database with failed_jobs, or a function.

    Without one they are kept in the queue's list of dead letters on Redis.
    """

    horizon: str | None = None
    """Horizon's prefix, such as `laravel_horizon:`, to show jobs and worker there."""

    enable_metrics: bool = True
    """Count jobs and times for `get_metrics()`."""

    def __post_init__(self) -> None:
        """Refuse what could only fail later."""
        naming.checked(self.laravel)
        if self.retry_after is not None and self.retry_after < 1:
            raise ValueError(f"retry_after={self.retry_after!r} must be at least 1 second, or None")
        if self.timeout is not None and not 0 < self.timeout < float("inf"):
            raise ValueError(f"timeout={self.timeout!r} must be more than 0 seconds, or None")
        for name in ("max_retries", "processes", "grace"):
            value = getattr(self, name)
            if not value >= 0:
                raise ValueError(f"{name}={value!r} must not be negative")

    def redis_prefix(self) -> str:
        """The prefix of every key."""
        return naming.redis_prefix(self.laravel) if self.prefix is None else self.prefix

    def whole_cache_prefix(self) -> str:
        """The prefix of the cache's keys, after that."""
        if self.cache_prefix is None:
            return naming.cache_prefix(self.laravel)
        return self.cache_prefix


def settings_from(given: dict[str, Any]) -> Settings:
    """The settings of these keyword arguments; TypeError naming what there is for any other."""
    names = [each.name for each in fields(Settings)]
    for name in given.keys() - set(names):
        raise TypeError(f"no setting is named {name!r}; there are {', '.join(names)}")
    return Settings(**given)
