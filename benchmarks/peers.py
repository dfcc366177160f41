"""Peers: huey on SQLite doing the same work in the same run, in an environment of its own."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from benchmarks import app, noops, stage
from benchmarks.report import Figure, alternate, at_least, compared, percentile
from benchmarks.stamps import read_stamps

_PROCESS = (
    "No-op tasks (a small int, a short string) that also append 16 bytes to a file, results stored "
    "by both, all queued beforehand; (jobs - 1) ÷ (last start - first start) by those bytes. LiteQ "
    "with 2 processes; huey {version} with one thread and with 2 processes, WAL and "
    "synchronous=NORMAL as LiteQ. The ratio is LiteQ's rate to huey's, round by round."
)
_ENQUEUE = "One call after the other, each stored when it returns: LiteQ's and huey {version}'s."
_LATENCY = "As `idle latency`; huey {version} with its own polling, one thread."
_THREAD = ("-w", "1", "-k", "thread")
_PROCESSES = ("-w", "2", "-k", "process")
_numbers = itertools.count(1)


def figures(folder: str, quick: bool) -> Iterator[Figure]:
    """LiteQ beside huey's SQLite storage: queueing, running and waiting."""
    huey = _Huey(folder)
    say = {"version": huey.version}
    rounds, count, theirs = (2, 20_000, 4_000) if quick else (3, 100_000, 20_000)
    rates, threads, processes = alternate(
        rounds,
        partial(_our_rate, folder, count),
        partial(huey.rate, theirs, _THREAD),
        partial(huey.rate, theirs, _PROCESSES),
    )
    how, goal = _PROCESS.format(**say), at_least(6, "ratio")
    yield compared("no-op jobs beside huey, 1 thread", "/s", rates, threads, goal, how=how)
    yield compared("no-op jobs beside huey, 2 processes", "/s", rates, processes, goal, how=how)
    calls, their_calls = alternate(
        rounds, partial(_our_enqueue, folder, theirs), partial(huey.enqueue, theirs)
    )
    how = _ENQUEUE.format(**say)
    yield compared("enqueue beside huey", "/s", calls, their_calls, how=how)
    waits = huey.latencies(100 if quick else 300)
    for percent in (50, 99):
        value = percentile(waits, percent) * 1e3
        how = _LATENCY.format(**say)
        yield Figure(f"huey's idle latency, p{percent}", value, "ms", how=how)


class _Huey:
    """Huey, installed."""

    def __init__(self, folder: str):
        self._folder = folder
        self._bin = os.path.join(folder, "huey", "bin")
        _install("huey", os.path.join(folder, "huey"))
        asked = "import huey; print(huey.__version__)"
        self.version = self._python("-c", asked, database="unused").strip()

    def enqueue(self, count: int) -> float:
        """Calls a second."""
        return float(self._script("enqueue", count, self._database()))

    def rate(self, count: int, options: tuple[str, ...]) -> float:
        """Jobs a second of a consumer with these options."""
        database = self._database()
        self._script("enqueue", count, database)
        with self._consumer(database, *options) as stamps:
            return _rate_of(stamps, count)

    def latencies(self, count: int) -> list[float]:
        """Seconds from the call to the start, on an idle consumer."""
        database = self._database()
        with self._consumer(database, *_THREAD) as stamps:
            self._script("enqueue", 20, database)
            _rate_of(stamps, 20)
            sent = json.loads(self._script("latency", count, database))
            _rate_of(stamps, 20 + count)
        started = read_stamps(stamps)[20:]
        return [at - sent[str(number)] for number, at in started]

    def _database(self) -> str:
        return os.path.join(self._folder, f"huey-{next(_numbers)}.db")

    def _script(self, verb: str, count: int, database: str) -> str:
        # Not as a script: huey would know its task as `__main__.stamp`.
        code = "import huey_app, sys; huey_app.main(*sys.argv[1:])"
        return self._python("-c", code, verb, str(count), database=database)

    def _python(self, *arguments: str, database: str) -> str:
        command = [os.path.join(self._bin, "python"), *arguments]
        environment = self._environment(database)
        return subprocess.run(
            command, check=True, env=environment, stdout=subprocess.PIPE, text=True
        ).stdout

    @contextmanager
    def _consumer(self, database: str, *options: str) -> Iterator[str]:
        """A running consumer; where its tasks leave their stamps."""
        module = "huey.bin.huey_consumer"
        command = [os.path.join(self._bin, "python"), "-m", module, "huey_app.huey", "-n", "-q"]
        environment = self._environment(database)
        with subprocess.Popen([*command, *options], env=environment) as process:
            try:
                yield environment["BENCH_STAMPS"]
            finally:
                process.send_signal(signal.SIGINT)

    def _environment(self, database: str) -> dict[str, str]:
        folders = os.pathsep.join((os.path.join(stage.HERE, "rivals"), stage.HERE))
        return {
            **os.environ,
            "PYTHONPATH": folders,
            "RIVAL_DB": database,
            "BENCH_STAMPS": f"{database}.stamps",
        }


def _our_rate(folder: str, count: int) -> float:
    path = os.path.join(folder, f"liteq-{next(_numbers)}.db")
    options = ("--queues", "bench", "--concurrency", "2")
    with stage.database(path):
        noops.queue(count, "stamp")
        with stage.worker(path, *options, BENCH_STAMPS=f"{path}.stamps"):
            return _rate_of(f"{path}.stamps", count)


def _our_enqueue(folder: str, count: int) -> float:
    with stage.database(os.path.join(folder, f"liteq-{next(_numbers)}.db")):
        began = time.perf_counter()
        for number in range(count):
            app.stamp.delay(number, "hello")
        return count / (time.perf_counter() - began)


def _rate_of(stamps: str, count: int) -> float:
    """Wait for so many stamps; how many came a second. Raises RuntimeError if any job ran twice."""
    stage.wait_until(lambda: len(read_stamps(stamps)) >= count, f"{count} jobs in {stamps}")
    moments = [at for _, at in read_stamps(stamps)]
    if len(moments) != count:
        raise RuntimeError(f"{len(moments)} runs of {count} jobs")
    return (count - 1) / (max(moments) - min(moments))


def _install(package: str, folder: str) -> None:
    """Make a virtual environment with the package in it, by whatever pip there is.

    Raises subprocess.CalledProcessError if it cannot be had.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    here = [sys.executable, "-m", "pip"]
    has_pip = subprocess.run([*here, "--version"], check=False, capture_output=True).returncode == 0
    pip = here if has_pip else [shutil.which("python3") or "python3", "-m", "pip"]
    target = ["--python", os.path.join(folder, "bin", "python")]
    quiet = ["--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, *target, *quiet, "install", package], check=True)
