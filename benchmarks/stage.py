"""Stage: where a measurement takes place: a folder, a database, a worker and its processes."""

import contextlib
import glob
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import IO

from liteq import brokers, db

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
APP = os.path.join(HERE, "app.py")
PATIENCE = 600.0  # seconds after which a measurement that does not end is a fault
_TICKS = os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def folder(parent: str | None = None) -> Iterator[str]:
    """A temporary folder on a disk; gone afterwards."""
    # /tmp is often memory, /var/tmp is not (Filesystem Hierarchy Standard 5.15).
    home = parent or ("/var/tmp" if os.path.isdir("/var/tmp") else tempfile.gettempdir())
    path = tempfile.mkdtemp(prefix="liteq-bench-", dir=home)
    try:
        yield path
    finally:
        clear(path)


def clear(path: str) -> None:
    """Remove a folder and all in it."""
    shutil.rmtree(path, ignore_errors=True)


def environment(database: str, **extra: str) -> dict[str, str]:
    """The environment of a subprocess: no LiteQ settings of the caller's, ours importable."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("LITEQ_")}
    path = os.pathsep.join(filter(None, (ROOT, os.environ.get("PYTHONPATH"))))
    return {**kept, "LITEQ_DB": database, "PYTHONPATH": path, **extra}


@contextlib.contextmanager
def database(path: str) -> Iterator[str]:
    """Make `path` the database of this process, with its tables, for a while."""
    before = os.environ.get("LITEQ_DB")
    os.environ["LITEQ_DB"] = path
    try:
        db.init_db()
        yield path
    finally:
        brokers.current().close()
        if before is None:
            del os.environ["LITEQ_DB"]
        else:
            os.environ["LITEQ_DB"] = before


@contextlib.contextmanager
def worker(
    path: str, *options: str, app: str = APP, log: str = "warning", **extra: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A real `liteq worker` on the database at `path`; stopped by SIGTERM at the end.

    Raises RuntimeError, with the end of its log, if it does not end well.
    """
    command = [sys.executable, "-m", "liteq", "worker", "--app", app, "--log-level", log, *options]
    with tempfile.TemporaryFile(dir=os.path.dirname(path)) as said:
        process = subprocess.Popen(
            command, env=environment(path, **extra), cwd=os.path.dirname(path), stderr=said
        )
        try:
            yield process
        finally:
            process.terminate()
            status = process.wait(60)
        if status:
            raise RuntimeError(f"the worker exited with status {status}:\n{_end_of(said)}")


def wait_until(done: Callable[[], bool], what: str, pause: float = 0.05) -> None:
    """Look every `pause` seconds. Raises TimeoutError saying `what` did not come."""
    deadline = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {PATIENCE:.0f} s still not: {what}")
        time.sleep(pause)


def reading(path: str) -> sqlite3.Connection:
    """A connection for looking on; it never holds a lock for longer than one statement."""
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None, timeout=60)


def is_drained(connection: sqlite3.Connection) -> bool:
    """Whether nothing is pending or running; two looks at the tops of indexes."""
    (busy,) = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM tasks WHERE status = 'pending' AND place > 0)"
        " OR EXISTS (SELECT 1 FROM tasks WHERE status = 'pending' AND place = 0)"
        " OR EXISTS (SELECT 1 FROM tasks WHERE status = 'running' AND status <> 'pending')"
    ).fetchone()
    return not busy


def tree(pid: int) -> list[int]:
    """The process and its descendants (proc(5), /proc/pid/task/tid/children)."""
    pids = [pid]
    for parent in pids:
        pids += children(parent)
    return pids


def children(pid: int) -> list[int]:
    """The children of a process; none if it is gone."""
    found: list[int] = []
    for file in glob.glob(f"/proc/{pid}/task/*/children"):
        with contextlib.suppress(OSError), open(file, encoding="ascii") as stream:
            found += map(int, stream.read().split())
    return found


def processor_seconds(pids: list[int]) -> float:
    """User and system time that these processes have used so far.

    By the scheduler's own count in nanoseconds where the kernel has it (schedstat, by thread), as
    the ticks of /proc/pid/stat are too coarse for an idle process.
    """
    return sum(map(_seconds_of, pids))


def proportional_mb(pids: list[int]) -> float:
    """Memory of these processes, what they share counted once (PSS, /proc/pid/smaps_rollup)."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            total += next(int(line.split()[1]) for line in file if line.startswith("Pss:"))
    return total / 1024


def _seconds_of(pid: int) -> float:
    threads = glob.glob(f"/proc/{pid}/task/*/schedstat")
    if not threads:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            fields = file.read().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS
    total = 0
    for thread in threads:
        with open(thread, encoding="ascii") as file:
            total += int(file.read().split()[0])
    return total / 1e9


def _end_of(log: IO[bytes]) -> str:
    log.seek(max(0, log.seek(0, os.SEEK_END) - 2000))
    return log.read().decode("utf-8", "replace")
