"""Marks: which runs have begun, in memory that outlives every process that wrote it.

A worker claims in batches, and an attempt counts only when a run begins. After a `kill -9` the
database cannot tell the two apart without a write for each job; this can, at 0.4 µs a job. Each
pool process notes the receipt of a run before it begins it, in a small file mapped into memory,
as a ring of the last 1,024 per lane. Its worker reads it when the process dies; another worker of
the machine reads it when the whole worker has died.

A file: 64 bytes, of which 56 are for the receipt of a run that is to be stopped and the last one
tells that the process takes no more jobs; then two rings (of plain and of `async def` runs) of
entries of 64 bytes: start time (steady clock, double) and receipt.
"""

import contextlib
import glob
import mmap
import os
import re
import struct
import tempfile
import time

# A worker never has more than pace.MOST runs in hand, so none is overwritten that matters …
ENTRIES = 1024
_SPARE = 16  # … not even if its end is told after that many others have begun
LANES = 2
_ENTRY = struct.Struct("<d56s")
_RING = ENTRIES * _ENTRY.size
_SIZE = 64 + LANES * _RING
_NAME = re.compile(r"[A-Za-z0-9_.-]+")


class Marks:
    """One pool process's file; both it and its worker have it mapped."""

    def __init__(self, path: str):
        self.path = path
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            if os.fstat(descriptor).st_size < _SIZE:
                # Written, not truncated to: a hole in a full file system would be a SIGBUS later.
                os.write(descriptor, bytes(_SIZE))
            self._map = mmap.mmap(descriptor, _SIZE)
        finally:
            os.close(descriptor)
        self._next = [0] * LANES
        self._kept: list[set[int]] = [set() for _ in range(LANES)]  # entries of runs that go on

    def begin(self, lane: int, receipt: str) -> None:
        """Note that this run begins now; for lanes where runs follow each other."""
        turn = self._next[lane]
        offset = 64 + lane * _RING + turn % ENTRIES * 64
        _ENTRY.pack_into(self._map, offset, time.monotonic(), receipt.encode())
        self._next[lane] = turn + 1

    def begin_beside(self, lane: int, receipt: str) -> int:
        """Note that this run begins now, beside others; the turn that `ended` wants back.

        Until then its entry stays, however many shorter runs come and go.
        """
        turn = self._free(lane)
        self._kept[lane].add(turn % ENTRIES)
        self.begin(lane, receipt)
        return turn

    def ended(self, lane: int, turn: int) -> None:
        """Let the entry of this turn go; if it is old, write it anew, or it would go at once."""
        self._kept[lane].discard(turn % ENTRIES)
        if self._next[lane] - turn <= _SPARE:
            return
        old, new = (64 + lane * _RING + each % ENTRIES * 64 for each in (turn, self._free(lane)))
        self._map[new : new + 64] = self._map[old : old + 64]
        self._next[lane] += 1

    def begun(self, receipt: str) -> float | None:
        """When this run began (steady clock); None: not here, or not yet."""
        wanted = receipt.encode()
        position = self._map.find(wanted, 64)
        while position >= 0:
            start = position - 8
            if start % 64 == 0:
                began, found = _ENTRY.unpack_from(self._map, start)
                if found.rstrip(b"\0") == wanted:
                    return float(began)
            position = self._map.find(wanted, position + 1)
        return None

    def receipts(self) -> set[str]:
        """All runs on record as begun."""
        return _receipts(self._map[64:])

    def order_stop(self, receipt: str) -> None:
        """Ask for this run to be stopped; the process looks when it gets SIGALRM."""
        self._map[:56] = receipt.encode().ljust(56, b"\0")

    def stop_ordered(self) -> str:
        """The run that is to be stopped, or nothing."""
        return self._map[:56].rstrip(b"\0").decode()

    def retire(self) -> None:
        """Let the worker know that the process takes no more jobs."""
        self._map[63] = 1

    def retiring(self) -> bool:
        """Whether it takes no more jobs."""
        return self._map[63] == 1

    def remove(self) -> None:
        """Forget the file."""
        self._map.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)

    def _free(self, lane: int) -> int:
        """The next turn whose entry may be written."""
        while self._next[lane] % ENTRIES in self._kept[lane]:
            self._next[lane] += 1
        return self._next[lane]


def path(worker: str, seat: str) -> str:
    """Where the marks of this seat of the worker are."""
    return os.path.join(_folder(), f"liteq-{worker}-{seat}.marks")


def spill_path(worker: str, number: int) -> str:
    """Where a job of the worker travels that is too large for a message; cleared up like marks."""
    return os.path.join(_folder(), f"liteq-{worker}-{number}.job")


def of_worker(worker: str) -> set[str] | None:
    """What a dead worker of this machine had begun; None where that is not known."""
    found: set[str] | None = None
    for file in _files(worker, "*.marks"):
        try:
            with open(file, "rb") as stream:
                found = (found or set()) | _receipts(stream.read()[64:])
        except OSError:
            return None  # another user's: then count every run as begun
    return found


def remove_of(worker: str) -> None:
    """Clear up after a dead worker."""
    for file in _files(worker, "*"):
        with contextlib.suppress(OSError):
            os.unlink(file)


def _files(worker: str, which: str) -> list[str]:
    # The name comes from a table that others can write: let it not lead to other folders.
    if not _NAME.fullmatch(worker):
        return []
    return glob.glob(os.path.join(glob.escape(_folder()), f"liteq-{worker}-{which}"))


def _folder() -> str:
    """Memory, where there is such a folder: the marks are never worth a disk's work."""
    shared = "/dev/shm"  # noqa: S108 - names are unique and files are 0600
    return shared if os.access(shared, os.W_OK) else tempfile.gettempdir()


def _receipts(rings: bytes) -> set[str]:
    return {
        receipt.rstrip(b"\0").decode("ascii", "replace")
        for began, receipt in _ENTRY.iter_unpack(rings)
        if began
    }
