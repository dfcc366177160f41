"""AsyncQueue: Laravel's queues for a program with an event loop.

    queue = AsyncQueue(redis.asyncio.Redis(), queue="python", max_concurrent_jobs=20)

    @queue.handler
    async def handle(job): ...

    await queue.listen()

Handlers run on the loop that awaits `listen`, many at a time. The worker behind them is LiteQ's
own, in a thread, and talks to Redis through the loop's client.
"""

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, overload

from lara_queue.beside import InProcesses, check_importable, in_thread
from lara_queue.desk import Desk, Push, Watch, check_client, jobs_of
from lara_queue.events import AsyncIOEventEmitter
from lara_queue.handlers import Handler
from lara_queue.letters import DeadLetter, Letters
from lara_queue.metrics import Metrics
from lara_queue.settings import settings_from
from liteq.brokers.laravel.base import Counts, Parcel
from liteq.brokers.laravel.broker import LaravelBroker
from liteq.brokers.laravel.client import Awaiting, Bridged, blocking_seconds
from liteq.brokers.laravel.redis import RedisDriver
from liteq.brokers.laravel.routes import UniqueId
from liteq.laravel import horizon
from liteq.pools.base import Limits
from liteq.pools.coroutines import CoroutinePool
from liteq.worker import Worker

logger = logging.getLogger("lara_queue")

_Handler = TypeVar("_Handler", bound=Handler)
_Listener = TypeVar("_Listener", bound=Callable[..., Any])


class AsyncQueue:
    """Pushes jobs onto Laravel's queues, and runs those that come, up to a number at a time.

    `client`: a redis.asyncio.Redis, or any client with its interface; or `lara_queue.database(…)`.
    `queue`: a name, or several in order of priority. No more than `max_concurrent_jobs` are ever
    taken off the queues. Further arguments are fields of `Settings`. Raises ValueError or
    TypeError for what makes no sense.
    """

    def __init__(
        self,
        client: Any,
        queue: str | Sequence[str] = "default",
        max_concurrent_jobs: int = 10,
        **settings: Any,
    ):
        check_client(client, awaited=True)
        if not isinstance(max_concurrent_jobs, int) or max_concurrent_jobs < 1:
            raise ValueError(f"max_concurrent_jobs={max_concurrent_jobs!r} must be at least 1")
        self.settings = settings_from(settings)
        self.max_concurrent_jobs = max_concurrent_jobs
        self.events = AsyncIOEventEmitter()
        self._desk = Desk(queue, self.settings, self.events)
        self._client = client
        self._redis = Awaiting(client) if callable(getattr(client, "execute_command", 0)) else None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._behind: LaravelBroker | None = None
        self._worker: Worker | None = None

    # ── handlers ──

    @overload
    def handler(self, function: _Handler, /) -> _Handler: ...

    @overload
    def handler(
        self, name: str | None = None, /, *, unique_id: UniqueId | None = None
    ) -> Callable[[_Handler], _Handler]: ...

    def handler(self, function: Any = None, /, *, unique_id: UniqueId | None = None) -> Any:
        """Have a function run jobs, as `Queue.handler`; a plain one runs in a thread."""
        return self._desk.handler(function, unique_id)

    @overload
    def on(self, event: str) -> Callable[[_Listener], _Listener]: ...

    @overload
    def on(self, event: str, listener: _Listener) -> _Listener: ...

    def on(self, event: str, listener: Any = None) -> Any:
        """Call a function, plain or `async def`, at an event; also as a decorator."""
        return self.events.on(event) if listener is None else self.events.on(event, listener)

    # ── pushing ──

    async def push(self, name: str, data: Any = None, **options: Any) -> str | None:
        """Push a job, as `Queue.push`; its uuid."""
        broker = self._broker()
        made = self._desk.push(broker, name, {} if data is None else data, **options)
        if made.lock is not None and not await asyncio.to_thread(broker.locked, *made.lock):
            return None
        await self._send(broker, [made])
        return made.uuid

    async def bulk(self, jobs: Iterable[tuple[str, Any]], **options: Any) -> list[str]:
        """Push many jobs, pairs of name and data, in few steps; their uuids, in order."""
        broker = self._broker()
        made = [
            self._desk.push(broker, name, data, **options) for name, data in jobs_of(list(jobs))
        ]
        await self._send(broker, made)
        return [each.uuid for each in made]

    # ── listening ──

    async def listen(self, *, stop_when_empty: bool = False) -> None:
        """Run jobs until `stop()`, SIGTERM or SIGINT, or until this is cancelled.

        Then running jobs may end within the grace. Raises ValueError without a handler,
        BrokerError if Redis cannot be used at all; later faults of it are waited out.
        """
        self._desk.check()
        processes = self.settings.processes
        beside = InProcesses(processes) if processes else None
        if beside is not None:
            for function in self._desk.handlers.plain():
                check_importable(function)
        broker = self._broker()
        self._desk.handlers.open(beside or in_thread)
        try:
            worker = self._worker = self._made_worker(broker, stop_when_empty)
            with self._signals(worker):
                await self._run(worker)
            await self.events.wait()
        finally:
            self._worker = None
            self._desk.handlers.close()
            if beside is not None:
                beside.close()

    def stop(self) -> None:
        """Ask `listen` to return once running jobs have ended."""
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
        return 0 if self._behind is None else self._behind.in_hand

    async def size(self, queue: str | None = None) -> Counts:
        """How many jobs the queue holds: ready, delayed, reserved."""
        driver = self._broker().driver
        return await asyncio.to_thread(driver.counts, queue or self._desk.queues[0])

    async def clear(self, queue: str | None = None) -> int:
        """Delete all jobs of the queue; how many there were."""
        driver = self._broker().driver
        return await asyncio.to_thread(driver.clear, queue or self._desk.queues[0])

    async def dead_letters(self, limit: int = 100) -> list[DeadLetter]:
        """The newest jobs that nobody could run, newest first."""
        return await asyncio.to_thread(self._letters().find, limit)

    async def retry_dead_letter(self, letter: DeadLetter) -> bool:
        """Push it again with all its attempts; False if it is not there any more."""
        return await asyncio.to_thread(self._letters().retry, letter)

    async def delete_dead_letter(self, letter: DeadLetter) -> bool:
        """Delete it for good; False if it is not there any more."""
        return await asyncio.to_thread(self._letters().delete, letter)

    async def close(self) -> None:
        """Close the connections that are its own, not the client; what needs them opens them anew.

        Also at the end of `async with AsyncQueue(…) as queue`.
        """
        await asyncio.to_thread(self._broker().close)

    async def __aenter__(self) -> "AsyncQueue":  # noqa: PYI034 - Self is of Python 3.11
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    # ── how ──

    def _broker(self) -> LaravelBroker:
        """The broker for the running loop; made anew where a program runs a second one."""
        loop = asyncio.get_running_loop()
        if self._behind is None or self._loop is not loop:
            redis = Bridged(self._client, loop) if self._redis is not None else None
            block = blocking_seconds(self._client)
            watch = Watch(
                self._desk,
                lambda event, told: loop.call_soon_threadsafe(self.events.emit, event, told),
            )
            self._behind = self._desk.broker(self._client, redis, block, watch)
            self._loop = loop
        return self._behind

    def _letters(self) -> Letters:
        return Letters(self._broker().driver, self._desk.queues)

    async def _send(self, broker: LaravelBroker, pushes: Sequence[Push]) -> None:
        parcels = [each.parcel for each in pushes]
        if self._redis is None or not isinstance(broker.driver, RedisDriver):
            await asyncio.to_thread(broker.push, parcels)
            return
        for call in broker.driver.push_calls(parcels):
            await self._redis.run(*call)
        commands = self._horizon_commands(broker, parcels)
        if commands:
            await self._redis.send_all(commands)

    def _horizon_commands(
        self, broker: LaravelBroker, parcels: Sequence[Parcel]
    ) -> list[horizon.Command]:
        dashboard = broker.site.horizon
        if dashboard is None:
            return []
        now = broker.clock.wall()
        listings = [horizon.listing(parcel.queue, parcel.body, now) for parcel in parcels]
        return [told for each in listings if each for told in dashboard.pushed(each, now)]

    def _made_worker(self, broker: LaravelBroker, burst: bool) -> Worker:
        settings = self.settings
        limits = Limits(settings.timeout, broker.payload_limit)
        pool = CoroutinePool(asyncio.get_running_loop(), self.max_concurrent_jobs, limits)
        worker = Worker(
            self._desk.queues,
            self.max_concurrent_jobs,
            settings.timeout,
            pool=pool,
            burst=burst,
            broker=broker,
            shutdown_grace=settings.grace,
        )
        worker.logger = logger
        return worker

    async def _run(self, worker: Worker) -> None:
        """The worker in its thread, until it ends; cancelled, it is stopped and waited for."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()

        def run() -> None:
            error: BaseException | None = None
            try:
                worker.run()
            except BaseException as raised:
                error = raised
            loop.call_soon_threadsafe(_resolve, ended, error)

        threading.Thread(target=run, name="lara-queue", daemon=True).start()
        try:
            await asyncio.shield(ended)
        except asyncio.CancelledError:
            worker.stop()
            await ended
            raise

    @contextmanager
    def _signals(self, worker: Worker) -> Iterator[None]:
        """SIGTERM and SIGINT stop us, SIGUSR2 and SIGCONT pause and resume, in the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        actions = {
            signal.SIGTERM: worker.stop,
            signal.SIGINT: worker.stop,
            signal.SIGUSR2: worker.pause,
            signal.SIGCONT: worker.resume,
        }
        before = [signal.getsignal(number) for number in actions]
        for number, action in actions.items():
            loop.add_signal_handler(number, action)
        try:
            yield
        finally:
            for number, handler in zip(actions, before, strict=True):
                loop.remove_signal_handler(number)
                signal.signal(number, handler)


def _resolve(ended: "asyncio.Future[None]", error: BaseException | None) -> None:
    if ended.done():
        return
    if error is None:
        ended.set_result(None)
    else:
        ended.set_exception(error)
