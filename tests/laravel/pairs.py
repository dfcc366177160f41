"""A real Laravel and Python's queues beside it: what the tests of both together are played with."""

import asyncio
import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from typing import Any, NamedTuple
from urllib.parse import quote

import artisan
import redis
import redis.asyncio

import lara_queue

PATIENCE = 20.0  # seconds; only a broken promise ever takes as long
PREFIX = "laravel_database_"
VERSION = 8  # of Debian's Laravel
_SHUT = {"processed", "retrying", "failed"}


class Run(NamedTuple):
    """One run of a job in Python, or one that was refused (`data` is None then)."""

    name: str
    data: Any
    attempt: int
    ending: str  # processed, retrying or failed
    error: str | None
    at: float


class Pair:
    """Queues of one driver that a Laravel and Python share; failures go to Laravel's table."""

    def __init__(self, laravel, redis_server, driver, database=None):
        """`database`: a PostgreSQL or MariaDB that has the tables, not Laravel's SQLite file."""
        self.laravel = laravel
        self.driver = driver
        self.redis = redis_server.client()
        self.redis_url = redis_server.url
        self._queues = []
        self.database_url = f"sqlite:///{laravel.database}"
        if database is not None:
            scheme = {"pgsql": "postgresql", "mysql": "mysql"}[database.dialect]
            self.database_url = f"{scheme}://laravel@127.0.0.1:{database.port}/laravel"

    @property
    def ask(self):
        return self.laravel.ask

    def close(self):
        for queue in self._queues:
            queue.close()
        self.redis.close()

    # ── Python's side ──

    def queue(self, name="default", **settings):
        """A `Queue` beside Laravel's own."""
        place = self.redis if self.driver == "redis" else lara_queue.database(self.database_url)
        queue = lara_queue.Queue(place, name, **self._settings(settings))
        self._queues.append(queue)
        return queue

    def work(self, handler=None, queue="default", *, ends=None, **settings):
        """Have a `Queue` run what is due, or until so many runs have ended; its runs in order."""
        worker = self.queue(queue, **settings)
        return self.listen(worker, handler, ends)

    def listen(self, worker, handler=None, ends=None):
        """The same with a queue that is given, to which `handler` is added."""
        book = _Book(worker, ends)
        worker.handler(book.handled(handler))
        guard = threading.Timer(PATIENCE, worker.stop)
        guard.start()
        try:
            worker.listen(stop_when_empty=ends is None)
        finally:
            guard.cancel()
        assert ends is None or len(book.runs) >= ends, f"only {book.runs} within {PATIENCE} s"
        return book.runs

    def awork(self, handler=None, queue="default", *, ends=None, **settings):
        """The same with an `AsyncQueue`; `handler` may be a coroutine function."""
        return asyncio.run(self._awork(handler, queue, ends, settings))

    async def _awork(self, handler, queue, ends, settings):
        settings = {"max_concurrent_jobs": 1, **settings}  # so that runs have an order
        async with self.aqueue(queue, **settings) as worker:
            book = _Book(worker, ends)
            worker.handler(book.awaited(handler))
            await asyncio.wait_for(worker.listen(stop_when_empty=ends is None), PATIENCE)
        return book.runs

    @contextlib.asynccontextmanager
    async def aqueue(self, name="default", **settings):
        """An `AsyncQueue`, with a client that lives as long."""
        place = lara_queue.database(self.database_url)
        async with contextlib.AsyncExitStack() as stack:
            if self.driver == "redis":
                place = redis.asyncio.Redis.from_url(self.redis_url)
                await stack.enter_async_context(place)
            queue = lara_queue.AsyncQueue(place, name, **self._settings(settings))
            yield await stack.enter_async_context(queue)

    def url(self, queues="default", **more):
        """What `liteq worker --url` takes."""
        place = self.redis_url if self.driver == "redis" else self.database_url
        given = {"queues": queues, "laravel": VERSION, "failed": self.database_url, **more}
        if self.driver == "database":
            given["cache"] = self.redis_url
        pairs = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in given.items())
        return f"laravel+{place}?{pairs}"

    def liteq(self, app, *options, code=0, **more):
        """Run `liteq worker --burst` with this app, the text of a module; its log."""
        folder = self.laravel.folder
        (folder / "tasks.py").write_text(app)
        command = ["-m", "liteq", "worker", "--app", "tasks.py", "--url", self.url(**more)]
        command += ["--burst", "--concurrency", "2", *options]
        return self.program(command, code)

    def script(self, text, code=0):
        """Run a Python program of the test's own in Laravel's folder; its output."""
        path = self.laravel.folder / "program.py"
        path.write_text(text)
        return self.program([str(path)], code)

    def program(self, command, code=0):
        done = subprocess.run(
            [sys.executable, *command],
            cwd=self.laravel.folder,
            env={**os.environ, "LARAVEL_APP_KEY": artisan.APP_KEY},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    # ── what lies where ──

    def waits(self, queue="default"):
        """Seconds until the delayed jobs of a queue are due, soonest first."""
        now = time.time()
        if self.driver == "redis":
            found = self.redis.zrange(f"{PREFIX}queues:{queue}:delayed", 0, -1, withscores=True)
            return [at - now for _, at in found]
        statement = (
            "SELECT available_at FROM jobs WHERE queue = ? AND reserved_at IS NULL "
            "AND available_at > ? ORDER BY available_at"
        )
        return [row[0] - now for row in self.run_sql(statement, queue, int(now))]

    def hurry(self, queue="default"):
        """Make the delayed jobs of a queue due now, so that nobody need wait."""
        now = int(time.time())
        key = f"{PREFIX}queues:{queue}:delayed"
        if self.driver == "redis":
            for body in self.redis.zrange(key, 0, -1):
                self.redis.zadd(key, {body: now})
        else:
            self.run_sql("UPDATE jobs SET available_at = ? WHERE queue = ?", now, queue)

    def payloads(self, queue="default"):
        """The payloads that are ready, first to last."""
        if self.driver == "redis":
            texts = self.redis.lrange(f"{PREFIX}queues:{queue}", 0, -1)
        else:
            statement = "SELECT payload FROM jobs WHERE queue = ? ORDER BY id"
            texts = [row[0] for row in self.run_sql(statement, queue)]
        return [json.loads(text) for text in texts]

    def put(self, payload, queue="default"):
        """Lay a text into the queue as some other program would."""
        if self.driver == "redis":
            self.redis.rpush(f"{PREFIX}queues:{queue}", payload)
        else:
            now = int(time.time())
            columns = "queue, payload, attempts, available_at, created_at"
            statement = f"INSERT INTO jobs ({columns}) VALUES (?, ?, 0, ?, ?)"
            self.run_sql(statement, queue, payload, now, now)

    def failed(self):
        """The rows of Laravel's failed_jobs, oldest first."""
        return sorted(self.ask.rows("failed_jobs"), key=lambda row: row["id"])

    def size(self, queue="default"):
        """What Laravel says that the queue holds, of every kind."""
        return self.ask.size(queue)

    def run_sql(self, statement, *values):
        """A statement on Laravel's SQLite file, by another connection."""
        connection = sqlite3.connect(self.laravel.database, timeout=10)
        try:
            with connection:
                return connection.execute(statement, values).fetchall()
        finally:
            connection.close()

    def _settings(self, given):
        settings = {
            "laravel": VERSION,
            "connection": self.driver,
            "app_key": artisan.APP_KEY,
            "failed": self.database_url,
            **given,
        }
        if self.driver == "database":
            settings.setdefault("cache", self.redis_url)
        return settings


class _Book:
    """Writes down how a queue's runs begin and end; stops it after enough of them."""

    def __init__(self, worker, ends):
        self.runs = []
        self._data = {}
        self._stop = worker.stop
        self._ends = ends
        for event in _SHUT:
            worker.on(event, lambda told, event=event: self._ended(event, told))

    def handled(self, handler):
        def handle(job):
            self._data[job["name"]] = job["data"]
            return handler(job) if handler is not None else None

        return handle

    def awaited(self, handler):
        async def handle(job):
            self._data[job["name"]] = job["data"]
            returned = handler(job) if handler is not None else None
            return await returned if asyncio.iscoroutine(returned) else returned

        return handle

    def _ended(self, event, told):
        name = told["name"]
        data = self._data.pop(name, None)
        self.runs.append(Run(name, data, told["attempt"], event, told["error"], time.time()))
        if len(self.runs) == self._ends:
            self._stop()


def fails(job):
    """A handler that always fails."""
    raise RuntimeError("no luck in Python")


def told(events, *names):
    """Laravel's events of these names (or all but `started`), in order."""
    return [each for each in events if each["event"] in (names or ALL)]


ALL = ("processing", "handled", "told", "processed", "failed", "released", "exception", "caught",
       "then", "finally", "skipped", "sleeping")  # fmt: skip


def handled(events):
    """What PHP's jobs said of themselves: pairs of the bare class and the properties."""
    return [
        (each["class"].rpartition("\\")[2], each.get("got")) for each in told(events, "handled")
    ]
