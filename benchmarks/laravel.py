"""Laravel: lara_queue beside plain redis-py with the same scripts, on a Redis of their own."""

import asyncio
import itertools
import os
import shutil
import socket
import subprocess
import sys
import time
import timeit
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import redis
import redis.asyncio

from benchmarks import idling, raw_redis, stage
from benchmarks.idling import Server
from benchmarks.report import Figure, Target, alternate, at_least, at_most, compared, percentile
from benchmarks.stamps import read_stamps
from lara_queue import AsyncQueue, Queue
from liteq.laravel import phpserialize, plain

_TASKS = 20
_NAP = 0.05  # seconds
_NAME = "bench_stamp"  # a task of app.py; any class would do
_TEXT = "a text of some length, such as the subject of a mail or a path"
_WITH_SAME = (
    "One job of three properties each ({size} bytes of payload). Raw: plain redis-py, a payload "
    "that is ready, by the same script with EVALSHA. Beside that a queue makes the payload: its "
    "uuid, PHP's serialized command, JSON. The two take turns in short rounds; the ratio is the "
    "median over them."
)
_BULK = "As above, 1,000 payloads a script on both sides."
_LISTEN = (
    "Jobs that do nothing, pushed beforehand, log level warning: from the first call of the "
    "handler to the last. Raw: plain redis-py, the same scripts (pop and reserve; delete), two "
    "round trips for each payload, which is not even read."
)
_AWAITED = f"As above, by {_TASKS} tasks at a time with redis.asyncio."
_AWAITED_LISTEN = (
    f"As above with max_concurrent_jobs={_TASKS}. Raw: {_TASKS} tasks of plain redis.asyncio, each "
    "for itself two round trips for each payload; AsyncQueue takes and deletes as many as it can "
    "at a time."
)
_OWN = (
    "For comparison, plain redis-py with the scripts as Laravel's worker has them (RPUSH twice; "
    "migrate twice, LPOP with cjson and ZADD, ZREM). Raw: the same with ours."
)
_NAPS = (
    f"Handlers that wait {_NAP * 1000:.0f} ms: AsyncQueue with max_concurrent_jobs={_TASKS}. Raw: "
    "Queue, one at a time."
)
_WORKER = (
    "A `liteq worker --url laravel+redis://… --concurrency 2`, a task that notes its start in 16 "
    "bytes; (jobs − 1) ÷ (last start − first start). Raw as for Queue.listen."
)
_LATENCY = (
    "One push each 20 ms from another process to an idle listener: from just before the push to "
    "the handler's first line. Raw: plain redis-py that waits with BLPOP on `:notify`, then runs "
    "the script `pop`; they take turns."
)
_IDLE = (
    "User and system time of a process that listens to an empty queue ÷ time, in % of one core. "
    "Raw: plain redis-py in BLPOP, looking once a second; measured side by side."
)
_SERIALIZE = "A job object of three properties, from and to PHP's serialized text ({size} bytes)."
_numbers = itertools.count(1)


def figures(folder: str, quick: bool) -> Iterator[Figure]:
    """All of Laravel's, or nothing but a word where there is no Redis server."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        print(" skipped, as no redis-server is installed;", end="", file=sys.stderr)
        return
    with _redis(program, folder) as port:
        client = redis.Redis(port=port)
        count, rounds = (400, 5) if quick else (1000, 15)
        yield from _pushing(client, count, rounds)
        yield from _listening(client, count, rounds)
        yield from _awaiting(client, port, count, rounds)
        yield _naps(client, port, 20 if quick else 60)
        yield _worker(folder, client, port, 2_000 if quick else 20_000)
        yield from _waiting(folder, client, port, quick=quick)
    yield from _serializing()


def _pushing(client: redis.Redis, count: int, rounds: int) -> Iterator[Figure]:
    bodies = _bodies(client, count)
    size = len(bodies[0])
    singly, raws, laravel = alternate(
        rounds,
        _on_empty(client, lambda name: _pushed(client, name, count)),
        _on_empty(client, lambda name: raw_redis.pushes(client, name, bodies)),
        _on_empty(client, lambda name: raw_redis.laravel_pushes(client, name, bodies)),
    )
    how, goal = _WITH_SAME.format(size=size), at_least(0.6, "ratio")
    yield compared("Queue.push", "/s", singly, raws, goal, how=how)
    yield compared("  by Laravel's script", "/s", laravel, raws, how=_OWN)
    bulk, raws = alternate(
        rounds,
        _on_empty(client, lambda name: _bulk(client, name, count)),
        _on_empty(client, lambda name: raw_redis.pushes_in_bulk(client, name, bodies)),
    )
    yield compared("Queue.bulk", "/s", bulk, raws, how=_BULK)


def _listening(client: redis.Redis, count: int, rounds: int) -> Iterator[Figure]:
    ours, raws, laravel = alternate(
        rounds,
        _on_full(client, count, lambda name: _listened(client, name, count)),
        _on_full(client, count, lambda name: raw_redis.pops(client, name, count)),
        _on_full(client, count, lambda name: raw_redis.laravel_pops(client, name, count)),
    )
    yield compared("Queue.listen", "/s", ours, raws, at_least(0.6, "ratio"), how=_LISTEN)
    yield compared("  by Laravel's scripts", "/s", laravel, raws, how=_OWN)


def _awaiting(client: redis.Redis, port: int, count: int, rounds: int) -> Iterator[Figure]:
    bodies, goal = _bodies(client, count), at_least(0.6, "ratio")

    async def apush(name: str, aclient: redis.asyncio.Redis) -> float:
        return await _apushed(aclient, name, count)

    async def raw_apush(name: str, aclient: redis.asyncio.Redis) -> float:
        return await raw_redis.apushes(aclient, raw_redis.Steps(client, name), bodies, _TASKS)

    async def alisten(name: str, aclient: redis.asyncio.Redis) -> float:
        return await _alistened(aclient, name, count, 0.0)

    async def raw_apop(name: str, aclient: redis.asyncio.Redis) -> float:
        return await raw_redis.apops(aclient, raw_redis.Steps(client, name), count, _TASKS)

    ours, raws = alternate(
        rounds,
        _on_empty(client, partial(_awaited, port, apush)),
        _on_empty(client, partial(_awaited, port, raw_apush)),
    )
    yield compared("AsyncQueue.push", "/s", ours, raws, goal, how=_AWAITED)
    ours, raws = alternate(
        rounds,
        _on_full(client, count, partial(_awaited, port, alisten)),
        _on_full(client, count, partial(_awaited, port, raw_apop)),
    )
    yield compared("AsyncQueue.listen", "/s", ours, raws, goal, how=_AWAITED_LISTEN)


def _naps(client: redis.Redis, port: int, count: int) -> Figure:
    async def doze(name: str, aclient: redis.asyncio.Redis) -> float:
        return await _alistened(aclient, name, count * _TASKS, _NAP)

    singly = _on_full(client, count, lambda name: _listened(client, name, count, _NAP))()
    many = _on_full(client, count * _TASKS, partial(_awaited, port, doze))()
    name, goal = f"AsyncQueue, {_TASKS} naps at a time", at_least(10, "ratio")
    return Figure(name, many, "/s", singly, many / singly, (goal,), _NAPS)


def _worker(folder: str, client: redis.Redis, port: int, count: int) -> Figure:
    def worked(name: str) -> float:
        with _worker_on(folder, port, name) as stamps:
            stage.wait_until(lambda: len(read_stamps(stamps)) >= count, f"{count} jobs run")
        moments = [at for _, at in read_stamps(stamps)]
        if len(moments) != count:
            raise RuntimeError(f"{len(moments)} runs of {count} jobs")
        return (count - 1) / (max(moments) - min(moments))

    ours = _on_full(client, count, worked)()
    raw = _on_full(client, count, lambda name: raw_redis.pops(client, name, count))()
    return Figure("liteq worker, 2 processes", ours, "/s", raw, ours / raw, (), _WORKER)


def _waiting(folder: str, client: redis.Redis, port: int, *, quick: bool) -> Iterator[Figure]:
    kinds = ("Queue", "AsyncQueue", "raw")
    blocks, samples = (2, 25) if quick else (6, 100)
    waits: dict[str, list[float]] = {kind: [] for kind in kinds}
    with ExitStack() as stack:
        servers = [stack.enter_context(_server(folder, client, port, kind)) for kind in kinds]
        for block in range(blocks):
            for kind, server in zip(kinds, servers, strict=True):
                waits[kind] += idling.sampled(server, block * samples, samples)
        idle = dict(zip(kinds, idling.shares(servers, 3 if quick else 20), strict=True))
    goals: dict[float, tuple[Target, ...]] = {50: (at_most(2.0),), 99: (at_most(10.0),)}
    for kind in kinds[:2]:
        for percent in (50, 99):
            value, limit = (percentile(waits[each], percent) * 1e3 for each in (kind, "raw"))
            name = f"{kind}, idle latency, p{percent}"
            yield Figure(name, value, "ms", limit, value / limit, goals[percent], _LATENCY)
    for kind in kinds[:2]:
        value, limit = idle[kind], idle["raw"]
        name, goal = f"{kind}, idle, % of a core", (at_most(1.0),)
        yield Figure(name, value, "%", limit, value / limit, goal, _IDLE)


def _serializing() -> Iterator[Figure]:
    command = plain.job(_NAME, _data(1))
    text = phpserialize.dumps(command)
    how, goal = _SERIALIZE.format(size=len(text)), (at_most(100),)
    for name, step in (
        ("PHP's unserialize", partial(phpserialize.loads, text)),
        ("PHP's serialize", partial(phpserialize.dumps, command)),
    ):
        seconds = min(timeit.repeat(step, number=1000, repeat=10)) / 1000
        yield Figure(name, seconds * 1e6, "µs", targets=goal, how=how)


# ── what each contender does ──


def _pushed(client: redis.Redis, name: str, count: int) -> float:
    queue = Queue(client, queue=name)
    began = time.perf_counter()
    for number in range(count):
        queue.push(_NAME, _data(number))
    return count / (time.perf_counter() - began)


def _bulk(client: redis.Redis, name: str, count: int) -> float:
    queue = Queue(client, queue=name)
    began = time.perf_counter()
    queue.bulk((_NAME, _data(number)) for number in range(count))
    return count / (time.perf_counter() - began)


def _listened(client: redis.Redis, name: str, count: int, nap: float = 0.0) -> float:
    """Jobs a second, from the first one's start to the last one's."""
    queue = Queue(client, queue=name)
    starts: list[float] = []

    @queue.handler
    def note(job):
        starts.append(time.perf_counter())
        if nap:
            time.sleep(nap)
        if len(starts) == count:
            queue.stop()

    queue.listen()
    return (count - 1) / (starts[-1] - starts[0])


async def _apushed(client: redis.asyncio.Redis, name: str, count: int) -> float:
    queue = AsyncQueue(client, queue=name)

    async def push(mine: range) -> None:
        for number in mine:
            await queue.push(_NAME, _data(number))

    began = time.perf_counter()
    await asyncio.gather(*(push(range(each, count, _TASKS)) for each in range(_TASKS)))
    return count / (time.perf_counter() - began)


async def _alistened(client: redis.asyncio.Redis, name: str, count: int, nap: float) -> float:
    """As `_listened`; with naps the last ones' ends count, as many run at a time."""
    queue = AsyncQueue(client, queue=name, max_concurrent_jobs=_TASKS)
    moments: list[float] = []

    @queue.handler
    async def note(job):
        if nap:
            await asyncio.sleep(nap)
        moments.append(time.perf_counter())
        if len(moments) == count:
            queue.stop()

    began = time.perf_counter()
    await queue.listen()
    if nap:
        return count / (moments[-1] - began)
    return (count - 1) / (moments[-1] - moments[0])


# ── the surroundings ──


def _data(number: int) -> dict[str, object]:
    return {"number": number, "text": _TEXT, "urgent": True}


def _bodies(client: redis.Redis, count: int) -> list[bytes]:
    """Payloads as a queue makes them."""
    name = f"bench-{next(_numbers)}"
    Queue(client, queue=name).bulk((_NAME, _data(number)) for number in range(count))
    bodies = client.lrange(raw_redis.Keys().ready(name), 0, -1)
    client.flushall()
    return list(bodies)


def _on_empty(client: redis.Redis, step: Callable[[str], float]) -> Callable[[], float]:
    """The step on a queue of its own, in an empty Redis."""

    def taken() -> float:
        client.flushall()
        return step(f"bench-{next(_numbers)}")

    return taken


def _on_full(client: redis.Redis, count: int, step: Callable[[str], float]) -> Callable[[], float]:
    """The same with so many jobs in the queue; none may be left of them.

    Raises RuntimeError if there are some.
    """

    def filled(name: str) -> float:
        queue = Queue(client, queue=name)
        queue.bulk((_NAME, _data(number)) for number in range(count))
        rate = step(name)
        if any(queue.size()):
            raise RuntimeError(f"of {count} jobs there are still {queue.size()}")
        return rate

    return _on_empty(client, filled)


def _awaited(
    port: int, step: Callable[[str, redis.asyncio.Redis], Awaitable[float]], name: str
) -> float:
    """The step with a client of its own, whose connections are open."""

    async def run() -> float:
        async with redis.asyncio.Redis(port=port) as client:
            await asyncio.gather(*(client.ping() for _ in range(_TASKS)))
            return await step(name, client)

    return asyncio.run(run())


@contextmanager
def _redis(program: str, folder: str) -> Iterator[int]:
    """A server that keeps nothing; its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
    with (
        open(os.path.join(folder, "redis.log"), "wb") as log,
        subprocess.Popen([program, *options], stdout=log, stderr=log) as process,
    ):
        try:
            client = redis.Redis(port=port)
            stage.wait_until(lambda: _answers(client), "an answer of Redis")
            yield port
        finally:
            process.terminate()


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


@contextmanager
def _worker_on(folder: str, port: int, name: str) -> Iterator[str]:
    """A running `liteq worker` on that queue; where its tasks leave their stamps."""
    stamps = os.path.join(folder, f"{name}.stamps")
    url = f"laravel+redis://127.0.0.1:{port}/0?queues={name}"
    options = ("--url", url, "--concurrency", "2")
    with stage.worker(os.path.join(folder, "unused.db"), *options, BENCH_STAMPS=stamps):
        yield stamps


@contextmanager
def _server(folder: str, client: redis.Redis, port: int, kind: str) -> Iterator[Server]:
    """A process that listens, warm."""
    name = f"bench-{kind}"
    stamps = os.path.join(folder, f"{name}.stamps")
    command = [sys.executable, "-m", "benchmarks.listener", kind, str(port), name]
    environment = stage.environment(os.path.join(folder, "unused.db"), BENCH_STAMPS=stamps)
    queue = Queue(client, queue=name)
    with subprocess.Popen(command, env=environment) as process:
        try:
            server = Server(process.pid, lambda number: queue.push(_NAME, _data(number)), stamps)
            idling.warm(server)
            yield server
        finally:
            process.terminate()
