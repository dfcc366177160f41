"""Plays: what befalls PHP and Python at their queues, and what came of it, as figures.

The tests play them short, `python -m benchmarks.laravel_crash` long.
"""

import asyncio
import contextlib
import json
import os
import random
import re
import signal
import threading
import time
from typing import NamedTuple

from consumers import COUNTED, children, memory_mb, wait_for

import lara_queue

LEASE = 3  # retry_after: what a killed consumer held runs again after so many seconds
FULL = 400  # jobs on the queue; more are pushed when there are fewer
TOP_UP = 300


class Killed(NamedTuple):
    """What came of kills."""

    jobs: int
    kills: dict[str, int]  # by kind
    again: int  # jobs that were handled more than once
    failed: int  # jobs of one try that were cut off and are on record
    sides: dict[str, int]  # runs by side
    seconds: float


class Restarted(NamedTuple):
    """What came of restarts of Redis."""

    jobs: int
    restarts: int
    waits: dict[str, list[float]]  # by kind: seconds until it was consuming again
    refused: int  # results that were stored though the answer to that was lost


class Ran(NamedTuple):
    """What came of many jobs in one run."""

    jobs: int
    seconds: float
    memory: tuple[float, float]  # MB, after a tenth and at the end


def kill(crew, *, kills, seed, pause=0.4, driver="redis"):
    """Kill PHP and Python workers at random while jobs flow; nothing may be lost."""
    return _Kills(crew, kills, seed, pause, driver).play()


class _Kills:
    def __init__(self, crew, kills, seed, pause, driver):
        self._crew = crew
        self._laravel = crew.laravel
        self._kills = kills
        self._chance = random.Random(seed)
        self._pause = pause
        self._driver = driver
        self._cast = {}  # a worker's kind by itself
        self._dead = set()  # pids
        self._killed = {}
        self._ids = 0
        self._once = set()  # jobs of one try

    def play(self):
        began = time.monotonic()
        self._laravel.env |= {"QUEUE_CONNECTION": self._driver, "QUIET": 1, "RETRY_AFTER": LEASE}
        for kind in ("php", "php", "queue", "aqueue", "liteq"):
            self._start(kind)
        while sum(self._killed.values()) < self._kills:
            self._feed()
            time.sleep(self._chance.expovariate(1 / self._pause))
            self._kill_one()
        self._crew.drained(driver=self._driver, seconds=60)
        self._end()
        return self._judged(time.monotonic() - began)

    def _start(self, kind):
        if kind == "php":
            worker = self._laravel.start_worker()
        else:
            worker = self._crew.start(kind, driver=self._driver, retry_after=LEASE)
        self._cast[worker] = kind

    def _feed(self):
        """Push from both sides. PHP's jobs may be tried for ever, some of Python's only once."""
        if sum(self._crew.counts(driver=self._driver)) > FULL:
            return
        first = self._ids
        self._ids += TOP_UP
        half = first + TOP_UP // 2
        self._laravel.dispatch("many", "Counted", TOP_UP // 2, first, 10)
        once = range(half, half + TOP_UP // 6)
        self._once.update(once)
        push = self._crew.push
        push(once, milliseconds=10, driver=self._driver, max_tries=1)
        push(range(once.stop, self._ids), milliseconds=10, driver=self._driver, max_tries=0)

    def _kill_one(self):
        worker, kind = self._chance.choice(list(self._cast.items()))
        pids = children(worker.pid)
        if kind == "liteq" and pids and self._chance.random() < 0.5:  # the worker starts another
            victim = self._chance.choice(pids)
            self._dead.add(victim)
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
            kind = "liteq's process"
        else:
            self._dead.update((worker.pid, *pids))
            del self._cast[worker]
            worker.kill()
            self._start(kind)
        self._killed[kind] = self._killed.get(kind, 0) + 1

    def _end(self):
        for worker, kind in self._cast.items():
            code = worker.stop()
            assert code == 0 if kind == "php" else code[0] == 0, (kind, code)
            if kind != "php":
                assert worker.troubles() == []

    def _judged(self, seconds):
        runs = {}
        for id, side, pid, _ in self._laravel.counted():
            runs.setdefault(id, []).append((side, pid))
        failed = set(map(_number, self._laravel.ask.rows("failed_jobs")))
        lost = set(range(self._ids)) - runs.keys() - failed
        assert not lost, f"lost: {sorted(lost)[:20]}"
        # One try that is cut off was the only one; PHP says so as well.
        assert failed <= self._once, f"failed: {sorted(failed - self._once)[:20]}"
        locked = sum(
            worker.log().count("SQL: delete from") for worker in self._laravel._workers
        )  # SQLite has refused PHP to delete what it has run
        alive = [
            (id, side, pid)
            for id, its in runs.items()
            for side, pid in its[:-1]
            if pid not in self._dead
        ]
        assert len(alive) <= locked, f"ran again though nobody was killed: {alive[:20]}"
        sides = {}
        for its in runs.values():
            for side, _ in its:
                sides[side] = sides.get(side, 0) + 1
        again = sum(len(its) > 1 for its in runs.values())
        return Killed(self._ids, self._killed, again, len(failed), sides, seconds)


def _number(row):
    """The id of the job in a row of failed_jobs."""
    command = json.loads(row["payload"])["data"]["command"]
    return int(re.search(r's:2:"id";i:(\d+);', command)[1])


def restart(crew, *, restarts, seed):
    """Restart Redis under load, by turns as an init script and as a power cut would."""
    chance = random.Random(seed)
    cast = {
        "Queue": ("queue", {"decode_responses": True}),
        "AsyncQueue": ("aqueue", {}),
        "AsyncQueue, decoding": ("aqueue", {"decode_responses": True}),
        "Queue, processes": ("processes", {}),
        "liteq worker": ("liteq", None),
    }
    ids = dict.fromkeys(cast, 0)
    first = {name: 1_000_000 * place for place, name in enumerate(cast)}
    waits = {name: [] for name in cast}
    consumers = [
        crew.start(kind, queue=f"q{place}", client=client)
        for place, (kind, client) in enumerate(cast.values())
    ]

    def feed():
        for place, name in enumerate(cast):
            if sum(crew.counts(f"q{place}")) < FULL:
                start = first[name] + ids[name]
                ids[name] += TOP_UP
                # One try: whoever takes a job for tried that was only not answered, fails it.
                numbers = range(start, start + TOP_UP)
                crew.push(numbers, milliseconds=10, queue=f"q{place}", max_tries=1)

    feed()
    crew.has_begun(*first.values())
    for number in range(restarts):
        feed()
        time.sleep(chance.uniform(0.1, 0.5))
        if number % 2:
            crew.server.kill()
        else:
            _shutdown(crew.server)
        time.sleep(chance.uniform(0.0, 0.5))
        crew.server.start()
        back, noted = time.monotonic(), crew.begun_file.stat().st_size
        for name in cast:
            waits[name].append(_consuming(crew, first[name], back, noted) - back)
    for place in range(len(cast)):
        crew.drained(f"q{place}", seconds=60)

    expected = {first[name] + each for name in cast for each in range(ids[name])}
    runs = crew.runs()
    failed = crew.laravel.ask.rows("failed_jobs")
    for consumer in consumers:
        code, _ = consumer.stop()
        assert code == 0, consumer.log()
        assert consumer.troubles() == [], consumer.troubles()
    assert failed == [], failed[:3]
    assert runs.keys() == expected, f"lost: {sorted(expected - runs.keys())[:20]}"
    twice = sorted(id for id, times in runs.items() if times > 1)
    assert twice == [], f"handled again: {twice[:20]}"
    refused = sum(consumer.log().count("result refused") for consumer in consumers)
    return Restarted(len(expected), restarts, waits, refused)


def _shutdown(server):
    with server.client(retry=None) as client:
        client.shutdown(nosave=True)
    wait_for(lambda: not server.running(), "the end of Redis")


def _consuming(crew, first, since, noted):
    """When a job from `first` on was begun since then; noted from that place in the file on."""

    def begun():
        return [
            each.at
            for each in crew.begun(noted)
            if each.at > since and first <= each.id < first + 1_000_000
        ]

    return min(wait_for(begun, f"a job of {first} after a restart"))


def run_many(crew, kind, jobs):
    """Many jobs in one run of a consumer: how long, and how its memory grows."""
    consumer = crew.start(kind, concurrency=10).listening()
    with crew.server.client() as client:
        queue = lara_queue.Queue(client, laravel=8)
        began = time.monotonic()
        after_a_tenth = 0.0
        for first in range(0, jobs, jobs // 10):
            numbers = range(first, first + jobs // 10)
            queue.bulk([(COUNTED, {"id": id}) for id in numbers])
            wait_for(lambda: not any(queue.size()), "an empty queue", 600)
            after_a_tenth = after_a_tenth or memory_mb(consumer.pid)
        seconds = time.monotonic() - began
    memory = after_a_tenth, memory_mb(consumer.pid)
    code, _ = consumer.stop()
    assert code == 0
    assert consumer.troubles() == []
    assert crew.runs() == dict.fromkeys(range(jobs), 1)
    return Ran(jobs, seconds, memory)


class Lossy:
    """A way to Redis that now and then does what is asked, loses the answer and hangs up."""

    def __init__(self, port, seed, share):
        self._port = port
        self._chance = random.Random(seed)
        self._share = share
        self.lost = 0
        self._loop = asyncio.new_event_loop()
        self._tasks = set()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]

    def calm(self):
        """Lose nothing any more."""
        self._share = 0

    def close(self):
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, awaited):
        return asyncio.run_coroutine_threadsafe(awaited, self._loop).result(10)

    async def _close(self):
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader, writer):
        self._tasks.add(asyncio.current_task())
        try:
            there = await asyncio.open_connection("127.0.0.1", self._port)
            asking = asyncio.create_task(_copy(reader, there[1]))
            with contextlib.suppress(OSError):
                while answer := await there[0].read(65536):
                    if self._chance.random() < self._share:
                        self.lost += 1
                        break
                    writer.write(answer)
                    await writer.drain()
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            there[1].close()
        finally:
            writer.close()
            self._tasks.discard(asyncio.current_task())


async def _copy(reader, writer):
    with contextlib.suppress(OSError):
        while asked := await reader.read(65536):
            writer.write(asked)
            await writer.drain()
    writer.close()
