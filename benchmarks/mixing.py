"""Mixing: short jobs among long ones, and many coroutines that wait."""

import heapq
import os
import time
from collections.abc import Iterator, Sequence

from benchmarks import app, noops, stage
from benchmarks.report import Figure, Target, percentile
from benchmarks.stamps import read_stamps
from liteq import enqueue

_SLOTS = 4
_LONG = 0.5  # seconds
_WAIT = (
    f"A worker with {_SLOTS} processes; a short job each 10 ms and one of {_LONG} s each 250 ms, "
    "so that long ones hold half of the slots: from .delay() to the start of the short ones. Raw: "
    "what first come, first served on as many slots would give for these very moments."
)
_BACKLOG = (
    f"A worker with {_SLOTS} processes; short jobs and ones of 0.25 s, 100 to 1, all queued "
    "beforehand; jobs a second from first start to last end. Raw: the long ones alone, evenly "
    "spread over the slots."
)
_NAPS = (
    "Coroutines that sleep 100 ms, all queued beforehand, 2 processes; from first start to last "
    "end. Raw: the ideal, jobs × 0.1 s ÷ how many may run at once."
)


def short_and_long(folder: str, quick: bool) -> Iterator[Figure]:
    """How long short jobs wait beside long ones, and how much gets done."""
    waits, ideal = _waits(folder, 3.0 if quick else 15.0)
    for percent in (50, 99):
        value, limit = percentile(waits, percent) * 1e3, percentile(ideal, percent) * 1e3
        yield Figure(f"short among long, wait p{percent}", value, "ms", limit, None, (), _WAIT)
    yield _throughput(folder, 16 if quick else 80)


def naps(folder: str, quick: bool) -> Iterator[Figure]:
    """Coroutines that wait, beside the ideal for so many at once."""
    count = 2_000 if quick else 10_000
    for limit in (100, 500):
        path = os.path.join(folder, f"naps-{limit}.db")
        options = ("--queues", "bench", "--concurrency", "2", "--async-limit", str(limit))
        with stage.database(path):
            enqueue(app.nap.job(0.1) for _ in range(count))
            with stage.worker(path, *options):
                took = count / noops.drained(path, count)
        ideal = count * 0.1 / (2 * limit)
        name = f"{count:,} naps of 100 ms, {2 * limit} at once"
        yield Figure(name, took, "s", ideal, took / ideal, (Target("ratio", "<", 1.3),), _NAPS)


def _waits(folder: str, seconds: float) -> tuple[list[float], list[float]]:
    """Seconds that the short jobs waited, and what they would have at best."""
    path, stamps = os.path.join(folder, "mixed.db"), os.path.join(folder, "mixed.stamps")
    options = ("--queues", "bench", "--concurrency", str(_SLOTS))
    with stage.database(path), stage.worker(path, *options, BENCH_STAMPS=stamps):
        app.work.delay(-1, 0.0)
        stage.wait_until(lambda: bool(read_stamps(stamps)), "a warm worker")
        sent = _sent(seconds)
        count = len(sent) + 1
        stage.wait_until(lambda: len(read_stamps(stamps)) == count, "all jobs started")
        started = dict(read_stamps(stamps))
    ideal = first_come_first_served(sent, _SLOTS)
    shorts = [number for number, (_, length) in enumerate(sent) if not length]
    return [started[n] - sent[n][0] for n in shorts], [ideal[n] - sent[n][0] for n in shorts]


def _sent(seconds: float) -> list[tuple[float, float]]:
    """Queue the jobs as time goes by; by number, when each came and how long it takes."""
    sent: list[tuple[float, float]] = []
    began = time.monotonic()
    for turn in range(int(seconds / 0.01)):
        time.sleep(max(0.0, began + turn * 0.01 - time.monotonic()))
        for length in (_LONG, 0.0) if turn % 25 == 0 else (0.0,):
            sent.append((time.monotonic(), length))
            app.work.delay(len(sent) - 1, length)
    return sent


def first_come_first_served(sent: Sequence[tuple[float, float]], slots: int) -> list[float]:
    """When each job (when it came, how long it takes) would start, without any overhead."""
    free = [0.0] * slots
    starts = []
    for came, length in sent:
        start = max(came, heapq.heappop(free))
        starts.append(start)
        heapq.heappush(free, start + length)
    return starts


def _throughput(folder: str, longs: int) -> Figure:
    """Jobs a second out of a backlog of both kinds."""
    path, stamps = os.path.join(folder, "backlog.db"), os.path.join(folder, "backlog.stamps")
    count, length = longs * 101, 0.25
    options = ("--queues", "bench", "--concurrency", str(_SLOTS))
    with stage.database(path):
        enqueue(app.work.job(n, 0.0 if n % 101 else length) for n in range(count))
        with stage.worker(path, *options, BENCH_STAMPS=stamps):
            rate = noops.drained(path, count)
    ideal = count / (longs * length / _SLOTS)
    return Figure("short and long, 100 to 1", rate, "/s", ideal, rate / ideal, (), _BACKLOG)
