"""Desk: what `Queue` and `AsyncQueue` have in common, and nothing that blocks or awaits."""

import inspect
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from lara_queue.events import EventEmitter
from lara_queue.handlers import Handler, Handlers
from lara_queue.metrics import Meter, Metrics
from lara_queue.settings import FailedJob, Settings
from liteq import times
from liteq.brokers.laravel import urls
from liteq.brokers.laravel.base import Cache, Driver, Ledger, Parcel
from liteq.brokers.laravel.broker import LaravelBroker
from liteq.brokers.laravel.client import Client
from liteq.brokers.laravel.database import DatabaseDriver, connector
from liteq.brokers.laravel.ledger import DatabaseLedger
from liteq.brokers.laravel.redis import Keys, RedisCache, RedisDriver
from liteq.brokers.laravel.routes import UniqueId
from liteq.brokers.laravel.site import Site
from liteq.job import Change, Job
from liteq.laravel import naming, payload
from liteq.laravel.encryption import Encrypter
from liteq.laravel.horizon import Horizon
from liteq.laravel.payload import Envelope, Options


class Database(NamedTuple):
    """Laravel's `database` driver, in place of a Redis client.

    `connect` opens a DB-API connection; `dialect` is sqlite, postgresql or mysql.
    """

    connect: Callable[[], Any]
    dialect: str
    table: str = "jobs"


def database(url: str, table: str = "jobs") -> Database:
    """The `jobs` table of a database: sqlite:///path, postgresql://… or mysql://…."""
    return Database(*connector(url), table)


class Push(NamedTuple):
    """One job to push, ready to go."""

    uuid: str
    parcel: Parcel
    lock: tuple[str, str, int | None] | None  # key, owner, seconds: of a unique job


class Desk:
    """The handlers, events and figures of one queue object, and how its payloads are made."""

    def __init__(self, queue: str | Sequence[str], settings: Settings, emitter: EventEmitter):
        self.settings = settings
        self.queues = _names(queue)
        self.events = emitter
        self.encrypter = _encrypter(settings)
        label = ",".join(self.queues)
        self.handlers = Handlers(label, settings.max_retries, settings.retry, self.encrypter)
        self.meter = Meter()

    # ── handlers and figures ──

    def handler(
        self, function: Handler | str | None, unique_id: UniqueId | None
    ) -> Handler | Callable[[Handler], Handler]:
        """As a decorator, with or without the name of a job class."""
        if function is None or isinstance(function, str):
            name = function

            def decorate(function: Handler) -> Handler:
                self.handlers.add(function, name, unique_id)
                return function

            return decorate
        self.handlers.add(function, None, unique_id)
        return function

    def metrics(self, processing: int) -> Metrics:
        """The figures of this moment."""
        return self.meter.read(processing)

    def check(self) -> None:
        """Refuse to listen without a handler: jobs would be taken and lost."""
        if not self.handlers:
            raise ValueError(
                f"queue {','.join(self.queues)} has no handler, so nothing is taken from it; "
                "decorate a function with @queue.handler before listen()"
            )

    # ── the broker behind ──

    def broker(
        self, place: object, client: Client | None, block: float, observer: "Watch"
    ) -> LaravelBroker:
        """Laravel's queues, with this desk's handlers."""
        driver = self._driver(client, place, block)
        url = f"Laravel's queues on {'Redis' if client is not None else 'a database'}"
        return LaravelBroker(url, driver, self._site(client, place), self.handlers, observer)

    def _site(self, client: Client | None, place: object) -> Site:
        """What the settings say of the Laravel application."""
        settings = self.settings
        return Site(
            laravel=settings.laravel,
            connection=settings.connection,
            queues=self.queues,
            default_queue=settings.default_queue,
            retry_after=settings.retry_after,
            encrypter=self.encrypter,
            cache=self._cache(client),
            ledger=_ledger(settings, place),
            horizon=Horizon(settings.horizon, settings.connection) if settings.horizon else None,
        )

    def _driver(self, client: Client | None, place: object, block: float) -> Driver:
        """The driver for a Redis client, or for a `Database`."""
        if isinstance(place, Database):
            return DatabaseDriver(place.connect, place.dialect, place.table)
        assert client is not None
        keys = Keys(self.settings.redis_prefix(), self.settings.cluster)
        return RedisDriver(client, keys, block=block)

    def _cache(self, client: Client | None) -> Cache | None:
        settings = self.settings
        prefix, within = settings.redis_prefix(), settings.whole_cache_prefix()
        if settings.cache == "none" or (settings.cache is None and client is None):
            return None
        if settings.cache is not None:
            return urls.cache_from(settings.cache, within, prefix, client)
        assert client is not None
        return RedisCache(client, prefix + within)

    # ── pushing ──

    def push(
        self,
        broker: LaravelBroker,
        name: str,
        data: Any,
        *,
        queue: str | None = None,
        delay: float | timedelta | datetime | None = None,
        max_tries: int | None = None,
        max_exceptions: int | None = None,
        backoff: int | Sequence[int] | None = None,
        timeout: int | None = None,
        retry_until: datetime | timedelta | None = None,
        fail_on_timeout: bool = False,
        delete_when_missing_models: bool | None = None,
        display_name: str | None = None,
        tags: Sequence[str] = (),
        encrypted: bool = False,
        unique_id: str | int | None = None,
        unique_for: int = 0,
    ) -> Push:
        """The job, made ready. Raises EncodingError or ValueError for what cannot be pushed."""
        now = broker.clock.wall()
        due = _due(delay, now)
        options = Options(
            max_tries=max_tries,
            max_exceptions=max_exceptions,
            backoff=_backoff(backoff),
            timeout=timeout,
            retry_until=None if retry_until is None else int(times.moment(retry_until, now)),
            fail_on_timeout=fail_on_timeout,
            delete_when_missing_models=delete_when_missing_models,
            display_name=display_name,
        )
        identity = str(uuid.uuid4())
        fields = payload.made(
            name,
            data,
            uuid=identity,
            now=now,
            options=options,
            delay=None if due is None else max(0, round(due - now)),
            encrypter=self._encrypting(name) if encrypted else None,
        )
        parcel = broker.parcel(queue or self.queues[0], fields, due, tags)
        lock = None
        if unique_id is not None:
            key = naming.unique_lock(self.settings.laravel, name, str(unique_id))
            lock = key, identity[:16], unique_for or None
        return Push(identity, parcel, lock)

    def _encrypting(self, name: str) -> Encrypter:
        if self.encrypter is None:
            raise ValueError(
                f"{name} cannot be pushed encrypted without the application's APP_KEY; give "
                "app_key=… or set LARAVEL_APP_KEY"
            )
        return self.encrypter


class Watch:
    """The observer: counts and tells what happens to jobs. `tell` reaches the event listeners."""

    def __init__(self, desk: Desk, tell: Callable[[str, dict[str, Any]], object]):
        self._desk = desk
        self._tell = tell
        self._meter = desk.meter if desk.settings.enable_metrics else None

    def taken(self, job: Job, envelope: Envelope | None) -> None:
        """A job is about to begin."""
        if self._desk.events.listeners("processing"):
            self._tell("processing", _event(job, envelope))

    def settled(self, job: Job, envelope: Envelope | None, change: Change) -> None:
        """A run has ended."""
        if change.status == "pending" and change.attempts < job.attempt:
            return  # handed back as it was
        name = {"done": "processed", "pending": "retrying"}.get(change.status, "failed")
        record = change.record
        started = (record.started if record else change.started) or 0.0
        ended = (record.ended if record else change.ended) or started
        if self._meter is not None:
            self._meter.count(name, ended - started, change.error)
        if self._desk.events.listeners(name):
            event = _event(job, envelope)
            self._tell(name, {**event, "seconds": ended - started, "error": change.error})


class _Sink:
    """A ledger that is the user's function; batches need Laravel's own tables."""

    def __init__(self, function: Callable[[FailedJob], object]):
        self._function = function

    def failed(self, uuid: str, connection: str, queue: str, body: str, exception: str) -> None:
        """Hand the failed job over."""
        self._function(FailedJob(uuid, connection, queue, body, exception))

    def batch_succeeded(self, batch: str, uuid: str, now: int) -> bool:
        """Not known here."""
        return False

    def batch_failed(self, batch: str, uuid: str, now: int) -> None:
        """Not known here."""

    def batch_cancelled(self, batch: str) -> bool:
        """Not known here."""
        return False

    def close(self) -> None:
        """Nothing to close."""


def is_awaited(client: object) -> bool:
    """Whether this is a client for event loops, such as redis.asyncio.Redis."""
    return inspect.iscoroutinefunction(getattr(client, "execute_command", None))


def check_client(client: object, *, awaited: bool) -> None:
    """Refuse a client of the wrong kind, at once."""
    if isinstance(client, Database):
        return
    if not callable(getattr(client, "execute_command", None)):
        raise ValueError(
            f"{client!r} is no Redis client; give redis.Redis(…) or redis.asyncio.Redis(…), or "
            "lara_queue.database(url) for Laravel's database driver"
        )
    if is_awaited(client) and not awaited:
        raise ValueError(f"Queue needs a client that blocks; {client!r} is one for AsyncQueue")
    if awaited and not is_awaited(client):
        raise ValueError(f"AsyncQueue needs redis.asyncio.Redis(…); {client!r} is one for Queue")


def _names(queue: str | Sequence[str]) -> tuple[str, ...]:
    names = queue.split(",") if isinstance(queue, str) else list(queue)
    cleaned = tuple(dict.fromkeys(name.strip() for name in names))
    if not cleaned or not all(cleaned):
        raise ValueError(f"queue={queue!r}: name at least one queue, and none empty")
    return cleaned


def _encrypter(settings: Settings) -> Encrypter | None:
    if settings.app_key is None:
        return urls.encrypter_from_environment()
    return Encrypter(settings.app_key, settings.previous_keys)


def _ledger(settings: Settings, place: object) -> Ledger | None:
    failed = settings.failed
    if failed is None:  # a table has no list of dead letters beside it
        return DatabaseLedger(place.connect, place.dialect) if isinstance(place, Database) else None
    if isinstance(failed, str):
        return DatabaseLedger(*connector(failed))
    if callable(failed):
        return _Sink(failed)
    return failed


def _due(delay: float | timedelta | datetime | None, now: float) -> float | None:
    if delay is None:
        return None
    if isinstance(delay, datetime):
        return times.moment(delay, now)
    seconds = delay.total_seconds() if isinstance(delay, timedelta) else delay
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < 1e10:
        raise ValueError(f"delay={delay!r} must be seconds, 0 or more, a timedelta or a datetime")
    return now + seconds if seconds else None


def _backoff(backoff: int | Sequence[int] | None) -> tuple[int, ...]:
    waits = () if backoff is None else (backoff,) if isinstance(backoff, int) else tuple(backoff)
    for wait in waits:
        if not isinstance(wait, int) or wait < 0:
            raise ValueError(f"backoff={backoff!r} must be whole seconds, one or a list of them")
    return waits


def _event(job: Job, envelope: Envelope | None) -> dict[str, Any]:
    return {
        "name": envelope.name if envelope else job.name,
        "uuid": envelope.uuid if envelope else "",
        "queue": job.queue,
        "attempt": job.attempt,
    }


def jobs_of(jobs: Sequence[tuple[str, Mapping[str, Any]]]) -> Sequence[tuple[str, Any]]:
    """The pairs of `bulk`, checked. Raises ValueError naming the one that is none."""
    for place, each in enumerate(jobs):
        if not isinstance(each, tuple | list) or len(each) != 2 or not isinstance(each[0], str):
            raise ValueError(f"jobs[{place}] is {each!r:.80}, not a pair of name and data")
    return jobs
