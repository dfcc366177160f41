"""Bell: a producer wakes a sleeping worker of the same machine within a fraction of a millisecond.

A small file beside the database, mapped into the memory of all its users, says which workers are
asleep and on which queues: reading it costs a producer no system call. Only a sleeping worker is
sent a datagram, on a Unix socket named after the database file. All of this is a hint: a worker
also looks by itself twice a second, so a lost ring costs half a second and nothing else.

The file: 64 bytes, one for each place, 1 = asleep; then 64 numbers of 8 bytes, the queues of the
worker at that place as a set of 64 bits, a bit for each queue's hash.
"""

import hashlib
import mmap
import os
import socket
import sys
import tempfile
import time
import zlib
from collections.abc import Iterable

PLACES = 64
_SIZE = PLACES + PLACES * 8
_ASLEEP = b"\x01"
# Seconds: a worker that began to listen within them is not rung yet, but looks by itself.
_LOOK = 0.005


class Board:
    """The mapped file beside the database; mapped again when it was deleted or replaced."""

    def __init__(self, path: str):
        self.path = f"{os.path.abspath(path)}-bell"
        self._map: mmap.mmap | None = None
        self._identity: tuple[int, int] | None = None

    def view(self) -> mmap.mmap | None:
        """The file's bytes, or None where there is no file: then nobody listens."""
        try:
            status = os.stat(self.path)
        except OSError:
            return None
        identity = status.st_dev, status.st_ino
        if self._map is None or identity != self._identity:
            self._map = self._mapped()
            self._identity = identity
        return self._map

    def create(self) -> mmap.mmap | None:
        """The file's bytes, made if need be; None where the folder may not be written."""
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError:
            return None
        try:
            if os.fstat(descriptor).st_size < _SIZE:
                # Written, not truncated to: a hole on a full disk would be a SIGBUS later.
                os.write(descriptor, bytes(_SIZE))
        except OSError:  # the disk is full
            return None
        finally:
            os.close(descriptor)
        return self.view()

    def address(self, place: int) -> str:
        """The socket of the worker at this place, in a name space that needs no cleaning up."""
        name = hashlib.sha256(os.path.realpath(self.path).encode()).hexdigest()[:16]
        if sys.platform == "linux":
            return f"\0liteq-{name}-{place}"
        return os.path.join(tempfile.gettempdir(), f"liteq-{name}-{place}.sock")

    def _mapped(self) -> mmap.mmap | None:
        try:
            descriptor = os.open(self.path, os.O_RDWR)
        except OSError:
            return None
        try:
            if os.fstat(descriptor).st_size < _SIZE:
                return None
            return mmap.mmap(descriptor, _SIZE)
        finally:
            os.close(descriptor)


class Bell:
    """The producer's end."""

    def __init__(self, board: Board):
        self._board = board
        self._view: mmap.mmap | None = None
        self._look_again = 0.0
        self._socket: socket.socket | None = None

    def ring(self, queues: Iterable[str], everybody: bool) -> None:
        """Wake one sleeping worker that listens on one of these queues, or all of them."""
        now = time.monotonic()
        if now >= self._look_again:  # is it there, and is it the same file? 2 µs each time
            self._view = self._board.view()
            self._look_again = now + _LOOK
        view = self._view
        if view is None:
            return
        place = view.find(_ASLEEP, 0, PLACES)
        if place < 0:
            return
        wanted = _bits(queues)
        while place >= 0:
            start = PLACES + place * 8
            if int.from_bytes(view[start : start + 8], "little") & wanted:
                view[place] = 0  # so that the next ring goes to the next sleeper
                if self._send(place) and not everybody:
                    return
            place = view.find(_ASLEEP, place + 1, PLACES)

    def close(self) -> None:
        """Close the socket; the next ring opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, place: int) -> bool:
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
        try:
            self._socket.sendto(b"!", self._board.address(place))
        except BlockingIOError:  # it has rings enough
            return True
        except OSError:  # it died, or lives in another container
            return False
        return True


class Ear:
    """The worker's end: the `Listener` of the SQLite broker, but for what the database knows."""

    def __init__(self, board: Board, queues: Iterable[str]):
        self._board = board
        self._bits = _bits(queues)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._place = self._take_place()
        board.create()

    def fileno(self) -> int:
        """Readable when rung."""
        return self._socket.fileno()

    def arm(self) -> None:
        """Show that we sleep."""
        view = self._board.view() or self._board.create()
        if view is not None and self._place is not None:
            start = PLACES + self._place * 8
            view[start : start + 8] = self._bits.to_bytes(8, "little")
            view[self._place] = 1

    def disarm(self) -> None:
        """Show that we are awake, and empty the socket."""
        view = self._board.view()
        if view is not None and self._place is not None:
            view[self._place] = 0
        while True:
            try:
                self._socket.recv(16)
            except BlockingIOError:
                return

    def close(self) -> None:
        """Give the place to others."""
        self.disarm()
        self._socket.close()
        if self._place is not None:
            self._unlink(self._place)

    def _take_place(self) -> int | None:
        """The first place whose socket nobody has bound; None when all are taken."""
        for place in range(PLACES):
            if self._bound(place):
                return place
        return None

    def _bound(self, place: int) -> bool:
        address = self._board.address(place)
        try:
            self._socket.bind(address)
            return True
        except OSError:
            if address.startswith("\0") or self._answers(address):
                return False
        self._unlink(place)  # left behind by a process that died
        try:
            self._socket.bind(address)
            return True
        except OSError:
            return False

    def _answers(self, address: str) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(address)
                return True
            except OSError:
                return False

    def _unlink(self, place: int) -> None:
        address = self._board.address(place)
        if not address.startswith("\0") and os.path.exists(address):
            os.unlink(address)


def _bits(queues: Iterable[str]) -> int:
    bits = 0
    for queue in queues:
        bits |= 1 << (zlib.crc32(queue.encode()) & 63)
    return bits
