"""Idling: what a worker costs that has nothing to do, and how soon it starts a job that comes."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from benchmarks import app, raw, stage
from benchmarks.report import Figure, Target, at_most, percentile
from benchmarks.stamps import read_stamps

_EACH = 0.02  # seconds between jobs, so that each finds the worker asleep
_LATENCY = (
    "One task each 20 ms to a warm, idle worker with 2 processes: from just before .delay() is "
    "called to the first line of the task, both on the steady clock that processes share. Raw: a "
    "bare parent with 2 forked children, plain INSERT, a datagram to wake it, UPDATE … RETURNING, "
    "a message to a child; the two take turns."
)
_IDLE = (
    "User and system time of the whole process tree (/proc/pid/task/tid/schedstat) ÷ time, in % "
    "of one core, after a job has warmed it up. The app has plain and async tasks. Raw: the bare "
    "parent and 2 children, looking at PRAGMA data_version twice a second; measured side by side."
)
_MEMORY = "PSS of the whole process tree (/proc/pid/smaps_rollup) of the same two."


class Server(NamedTuple):
    """Something that runs jobs and notes when each began."""

    pid: int
    send: Callable[[int], object]  # queue the job of this number
    stamps: str  # where it notes


def latency(folder: str, quick: bool) -> Iterator[Figure]:
    """From `.delay()` to the start of the task."""
    blocks, samples = (2, 50) if quick else (6, 100)
    ours: list[float] = []
    raws: list[float] = []
    with _worker(folder) as worker, _bare(folder) as bare:
        for block in range(blocks):
            ours += sampled(worker, block * samples, samples)
            raws += sampled(bare, block * samples, samples)
    goals: dict[float, tuple[Target, ...]] = {50: (at_most(1.0),), 99: (at_most(5.0),)}
    for percent in (50, 95, 99):
        value, limit = percentile(ours, percent) * 1e3, percentile(raws, percent) * 1e3
        yield Figure(
            f"idle latency, p{percent}",
            value,
            "ms",
            limit,
            value / limit,
            goals.get(percent, ()),
            _LATENCY,
        )


def costs(folder: str, quick: bool) -> Iterator[Figure]:
    """Processor time and memory of a worker that waits."""
    seconds = 5.0 if quick else 30.0
    with _worker(folder) as worker, _bare(folder) as bare:
        idle, raw_idle = shares((worker, bare), seconds)
        memory, raw_memory = (
            stage.proportional_mb(stage.tree(server.pid)) for server in (worker, bare)
        )
    yield Figure(
        "idle worker, % of a core", idle, "%", raw_idle, idle / raw_idle, (at_most(0.2),), _IDLE
    )
    yield Figure(
        "idle worker, memory",
        memory,
        "MB",
        raw_memory,
        memory / raw_memory,
        (at_most(60),),
        _MEMORY,
    )


def shares(servers: Sequence[Server], seconds: float) -> list[float]:
    """How much of a core, in %, each of them takes while there is nothing to do."""
    time.sleep(2)  # what the warm-up has left to do is done
    trees = [stage.tree(server.pid) for server in servers]
    before = [stage.processor_seconds(pids) for pids in trees]
    time.sleep(seconds)
    after = [stage.processor_seconds(pids) for pids in trees]
    return [
        (used - used_then) / seconds * 100 for used, used_then in zip(after, before, strict=True)
    ]


def sampled(server: Server, first: int, count: int) -> list[float]:
    """Seconds from sending to starting, of `count` jobs that each came alone."""
    sent = {}
    for number in range(first, first + count):
        sent[number] = time.monotonic()
        server.send(number)
        time.sleep(max(0.0, sent[number] + _EACH - time.monotonic()))

    def started() -> dict[int, float]:
        return {number: at for number, at in read_stamps(server.stamps) if number in sent}

    stage.wait_until(lambda: len(started()) == count, "all jobs started")
    return [at - sent[number] for number, at in started().items()]


@contextmanager
def _worker(folder: str) -> Iterator[Server]:
    path, stamps = os.path.join(folder, "idle.db"), os.path.join(folder, "worker.stamps")
    options = ("--queues", "bench", "--concurrency", "2")
    with stage.database(path), stage.worker(path, *options, BENCH_STAMPS=stamps) as process:
        server = Server(process.pid, lambda number: app.stamp.delay(number, "hello"), stamps)
        warm(server)
        yield server


@contextmanager
def _bare(folder: str) -> Iterator[Server]:
    path, stamps = os.path.join(folder, "bare.db"), os.path.join(folder, "bare.stamps")
    address = os.path.join(folder, "bell")
    with stage.database(path):
        pass
    command = [sys.executable, "-m", "benchmarks.bare", path, address, stamps, "2"]
    bell = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    with subprocess.Popen(command, env=stage.environment(path)) as process, bell:
        stage.wait_until(lambda: os.path.exists(address), "a bare worker")
        with raw.connected(path) as connection:

            def send(number: int) -> None:
                place = int(time.time() * 1e6)
                connection.execute(raw.INSERT, ("noop", str(number), "bench", place))
                bell.sendto(b"!", address)

            server = Server(process.pid, send, stamps)
            warm(server)
            yield server
        process.terminate()


def warm(server: Server) -> None:
    """Some jobs, so that everything has been loaded and opened that a first job needs."""
    sampled(server, -20, 20)
