"""Told: outcomes on their way from other threads to the worker's own."""

import contextlib
import socket
from collections import deque
from collections.abc import Iterator
from typing import TypeVar

from liteq.job import Outcome

_Item = TypeVar("_Item")


class Told:
    """Outcomes that wait for the worker, which a socket wakes."""

    def __init__(self) -> None:
        self._outcomes: deque[Outcome] = deque()
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)
        self._rung = False

    def fileno(self) -> int:
        """Readable when there are some."""
        return self._read.fileno()

    def tell(self, outcome: Outcome) -> None:
        """From any thread."""
        self._outcomes.append(outcome)
        self.ring()

    def ring(self) -> None:
        """Wake the worker, unless it is on its way: a ring costs 2 µs."""
        if self._rung:
            return
        self._rung = True
        with contextlib.suppress(OSError):  # the pool is closed, and nobody waits for it
            self._write.send(b"!")

    def outcomes(self) -> list[Outcome]:
        """All that are there."""
        with contextlib.suppress(BlockingIOError):
            self._read.recv(64)
        self._rung = False  # before the look, so that one told after it rings again
        return list(popped(self._outcomes))

    def close(self) -> None:
        """Nobody listens any more."""
        self._read.close()
        self._write.close()


def popped(items: "deque[_Item]") -> Iterator[_Item]:
    """Take all that is there, from the left."""
    with contextlib.suppress(IndexError):
        while True:
            yield items.popleft()
