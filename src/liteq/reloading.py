"""Reloading: starts a command again whenever a Python file changes, for `liteq worker --reload`.

For development: it asks the file system twice a second and depends on nothing.
"""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

logger = logging.getLogger(__name__)

INTERVAL = 0.5  # seconds between two looks
_PATIENCE = 3.0  # seconds for each step of a stop: ask, ask again, kill
_SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages"})

Snapshot = dict[str, tuple[int, int]]  # path → modification time and size


def run(command: Sequence[str], folders: Sequence[str]) -> int:
    """Keep the command running until we are told to stop; its last exit code.

    If it ends by itself, as on a syntax error, it is started again after the next change.
    """
    supervisor = _Supervisor(command, folders)
    with _handled(supervisor.stop):
        return supervisor.run()


def snapshot(folders: Sequence[str]) -> Snapshot:
    """All Python files in and below these folders, hidden and installed ones left out."""
    return {
        entry.path: (status.st_mtime_ns, status.st_size)
        for folder in folders
        for entry in _python_files(folder)
        if (status := _status(entry)) is not None
    }


class _Supervisor:
    """The life of one `--reload`."""

    def __init__(self, command: Sequence[str], folders: Sequence[str]):
        self._command = list(command)
        self._folders = list(folders)
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped_by: int | None = None

    def run(self) -> int:
        """Until stopped: start, wait for a change, stop, and again."""
        before = snapshot(self._folders)
        while self._stopped_by is None:
            self._process = subprocess.Popen(self._command)
            before = self._await_change(before)
            if self._stopped_by is None:
                self._stop_for_change()
        return self._end(self._stopped_by)

    def stop(self, number: int, _frame: object) -> None:
        """A signal handler: pass the wish on to the process, and end with it."""
        self._stopped_by = number
        # Ctrl-C in a terminal reaches the process without us; twice would mean: at once.
        if self._process is not None and not (number == signal.SIGINT and sys.stdin.isatty()):
            self._process.send_signal(signal.SIGTERM)

    def _await_change(self, before: Snapshot) -> Snapshot:
        assert self._process is not None
        told = False
        while self._stopped_by is None:
            time.sleep(INTERVAL)
            if self._process.poll() is not None and not told and self._stopped_by is None:
                logger.warning(
                    "the worker ended with exit code %s; it starts again when a file changes",
                    self._process.returncode,
                )
                told = True
            after = snapshot(self._folders)
            if after != before:
                logger.info("%s changed; starting the worker again", _changed(before, after))
                return after
        return before

    def _stop_for_change(self) -> None:
        """Ask; ask again, so that running jobs are handed back; then kill."""
        assert self._process is not None
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is not None:
                return
            self._process.send_signal(number)
            try:
                self._process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                continue
        self._process.wait()

    def _end(self, number: int) -> int:
        if self._process is None:
            return 128 + number
        code = self._process.wait()
        return 128 + number if code < 0 else code


@contextmanager
def _handled(handler: Callable[[int, object], None]) -> Iterator[None]:
    """Within, SIGINT and SIGTERM call `handler`."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, handler) for number in numbers]
    try:
        yield
    finally:
        for number, previous in zip(numbers, before, strict=True):
            signal.signal(number, previous)


def _python_files(folder: str) -> "Iterator[os.DirEntry[str]]":
    try:
        entries = list(os.scandir(folder))
    except OSError:  # gone, or not ours to read
        return
    if any(entry.name == "pyvenv.cfg" for entry in entries):  # a virtual environment
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.name in _SKIPPED:
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _python_files(entry.path)
        elif entry.name.endswith(".py"):
            yield entry


def _status(entry: "os.DirEntry[str]") -> os.stat_result | None:
    try:
        return entry.stat()
    except OSError:  # deleted a moment ago
        return None


def _changed(before: Snapshot, after: Snapshot) -> str:
    paths = sorted(path for path in {**before, **after} if before.get(path) != after.get(path))
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return os.path.relpath(paths[0]) + more
