"""Queue: Laravel's queues for a program that blocks.

queue = Queue(redis.Redis(), queue="python")

@queue.handler
def handle(job): print(job["name"], job["data"])

queue.listen()
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar, overload

from lara_queue.beside import check_importable
from lara_queue.desk import Desk, Watch, check_client, jobs_of
from lara_queue.events import EventEmitter
from lara_queue.handlers import Handler
from lara_queue.letters import DeadLetter, Letters
from lara_queue.metrics import Metrics
from lara_queue.settings import settings_from
from liteq.brokers.laravel.base import Counts
from liteq.brokers.laravel.broker import LaravelBroker
from liteq.brokers.laravel.client import Blocking, blocking_seconds
from liteq.brokers.laravel.routes import UniqueId
from liteq.job import WorkerInfo
from liteq.pools.base import Limits
from liteq.pools.caller import CallerPool
from liteq.worker import Worker

logger = logging.getLogger("lara_queue")

_Handler = TypeVar("_Handler", bound=Handler)
_Listener = TypeVar("_Listener", bound=Callable[..., Any])


class Queue:
    """Pushes jobs onto Laravel's queues, and runs those that come.

    `client`: a redis.Redis, or any client with its interface; or `lara_queue.database(…)`.
    `queue`: a name, or several in order of priority, as a list or with commas. Further arguments
    are fields of `Settings`. Raises ValueError or TypeError for what makes no sense.
    """

    def __init__(self, client: Any, queue: str | Sequence[str] = "default", **settings: Any):
        check_client(client, awaited=False)
        self.settings = settings_from(settings)
        self.events = EventEmitter()
        self._desk = Desk(queue, self.settings, self.events)
        redis = Blocking(client) if callable(getattr(client, "execute_command", None)) else None
        watch = Watch(self._desk, self.events.emit)
        self._broker = self._desk.broker(client, redis, blocking_seconds(client), watch)
        self._letters = Letters(self._broker.driver, self._desk.queues)
        self._worker: Worker | None = None

    # ── handlers ──

    @overload
    def handler(self, function: _Handler, /) -> _Handler: ...

    @overload
    def handler(
        self, name: str | None = None, /, *, unique_id: UniqueId | None = None
    ) -> Callable[[_Handler], _Handler]: ...

    def handler(self, function: Any = None, /, *, unique_id: UniqueId | None = None) -> Any:
        """Have a function run all jobs, or with `@queue.handler("App\\\\Jobs\\\\X")` those.

        It gets `{"name": …, "data": {…}}`. `unique_id` says what the class's `uniqueId()` would,
        given the data, so that the lock of a unique job is released. Raises ValueError for a
        second handler of the same jobs.
        """
        return self._desk.handler(function, unique_id)

    @overload
    def on(self, event: str) -> Callable[[_Listener], _Listener]: ...

    @overload
    def on(self, event: str, listener: _Listener) -> _Listener: ...

    def on(self, event: str, listener: Any = None) -> Any:
        """Call a function at an event, see `lara_queue.events`; also as a decorator."""
        return self.events.on(event) if listener is None else self.events.on(event, listener)

    # ── pushing ──

    def push(self, name: str, data: Any = None, **options: Any) -> str | None:
        """Push a job of the class `name` with these properties; its uuid. It is stored then.

        Options: `queue`, `delay` (seconds, timedelta or datetime), `max_tries`, `max_exceptions`,
        `backoff` (seconds, or a list), `timeout`, `retry_until`, `fail_on_timeout`,
        `delete_when_missing_models`, `display_name`, `tags`, `encrypted`, and `unique_id` with
        `unique_for` seconds: then None where such a job is on its way already. `Class@method`
        pushes a string job, whose data is free JSON. Raises EncodingError for data that PHP
        cannot hold, naming it.
        """
        made = self._desk.push(self._broker, name, {} if data is None else data, **options)
        if made.lock is not None and not self._broker.locked(*made.lock):
            return None
        self._broker.push([made.parcel])
        return made.uuid

    def bulk(self, jobs: Iterable[tuple[str, Any]], **options: Any) -> list[str]:
        """Push many jobs, pairs of name and data, in few steps; their uuids, in order."""
        made = [
            self._desk.push(self._broker, name, data, **options)
            for name, data in jobs_of(list(jobs))
        ]
        self._broker.push([each.parcel for each in made])
        return [each.uuid for each in made]

    # ── listening ──

    def listen(self, *, stop_when_empty: bool = False) -> None:
        """Run jobs until `stop()`, SIGTERM or SIGINT; then a running job may end within the grace.

        One at a time in this thread, or in `processes`. Raises ValueError without a handler,
        BrokerError if Redis cannot be used at all; later faults of it are waited out.
        """
        self._desk.check()
        if self.settings.processes:
            for function in self._desk.handlers.all():
                check_importable(function)
        self._desk.handlers.open()
        try:
            self._worker = self._made_worker(stop_when_empty)
            self._worker.run()
        finally:
            self._worker = None
            self._desk.handlers.close()

    def stop(self) -> None:
        """Ask `listen` to return, from any thread, once the running job has ended."""
        worker = self._worker
        if worker is not None and not worker.stopping:  # asked twice, it would hand back what runs
            worker.stop()

    # ── questions ──

    def get_metrics(self) -> Metrics:
        """Figures as a dict, which may also be awaited: jobs, performance, errors."""
        return self._desk.metrics(self._processing_jobs)

    @property
    def _processing_jobs(self) -> int:
        """How many jobs are running here now."""
        return self._broker.in_hand

    def size(self, queue: str | None = None) -> Counts:
        """How many jobs the queue holds: ready, delayed, reserved."""
        return self._broker.driver.counts(queue or self._desk.queues[0])

    def clear(self, queue: str | None = None) -> int:
        """Delete all jobs of the queue; how many there were."""
        return self._broker.driver.clear(queue or self._desk.queues[0])

    def dead_letters(self, limit: int = 100) -> list[DeadLetter]:
        """The newest jobs that nobody could run, newest first."""
        return self._letters.find(limit)

    def retry_dead_letter(self, letter: DeadLetter) -> bool:
        """Push it again with all its attempts; False if it is not there any more."""
        return self._letters.retry(letter)

    def delete_dead_letter(self, letter: DeadLetter) -> bool:
        """Delete it for good; False if it is not there any more."""
        return self._letters.delete(letter)

    def close(self) -> None:
        """Close the connections that are its own, not the client; what needs them opens them anew.

        Also at the end of `with Queue(…) as queue`.
        """
        self._broker.close()

    def __enter__(self) -> "Queue":  # noqa: PYI034 - Self is of Python 3.11
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # ── how ──

    def _made_worker(self, burst: bool) -> Worker:
        settings = self.settings
        pool: Any = "processes" if settings.processes else self._caller_pool()
        worker = Worker(
            self._desk.queues,
            max(1, settings.processes),
            settings.timeout,
            pool=pool,
            burst=burst,
            broker=self._broker,
            shutdown_grace=settings.grace,
        )
        worker.logger = logger
        return worker

    def _caller_pool(self) -> CallerPool:
        broker, settings = self._broker, self.settings
        lease = settings.retry_after or 3600
        return CallerPool(
            Limits(settings.timeout, broker.payload_limit),
            lambda receipt: _keep(broker, receipt, lease),
            lease / 3,
            lambda: self._worker is not None and self._worker.grace_is_over(),
        )


def _keep(broker: LaravelBroker, receipt: str, lease: float) -> None:
    nobody = WorkerInfo("", "", (), 1, 0, "", "", 0.0)
    if broker.beat(nobody, [receipt], lease).lost:
        logger.warning("a job's reservation is lost; its result will be refused")
