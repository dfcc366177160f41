"""Wire: jobs and outcomes as bytes between a worker and its own pool processes.

marshal is the fastest codec at hand and safe here: both ends are one program of one version, and
nothing from outside is ever read with it.
"""

import marshal
import os
import socket
import struct
from collections.abc import Callable, Iterator

from liteq.job import Job, Outcome

# Sockets that keep message borders: many processes may read from one, each takes whole jobs.
MESSAGES = getattr(socket, "SOCK_SEQPACKET", socket.SOCK_DGRAM)
LARGEST = 64 * 1024  # bytes; a job larger than that travels as a file, its message names it
_LENGTH = struct.Struct("<I")


def job_message(job: Job, spill_path: Callable[[], str]) -> bytes:
    """One message for the job; if it is large, its body goes into a file at `spill_path()`."""
    message = marshal.dumps(tuple(job))
    if len(message) <= LARGEST:
        return message
    spill = spill_path()
    descriptor = os.open(spill, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(message)
    return marshal.dumps(spill)


def read_job(message: memoryview) -> Job:
    """The job of this message."""
    content = marshal.loads(message)  # noqa: S302 - from our own parent process
    if isinstance(content, str):
        with open(content, "rb") as file:
            spilled = file.read()
        os.unlink(content)
        content = marshal.loads(spilled)  # noqa: S302 - as above
    return Job._make(content)


def outcome_frame(outcome: Outcome) -> bytes:
    """The outcome for a stream: its length, then itself."""
    body = marshal.dumps(tuple(outcome))
    return _LENGTH.pack(len(body)) + body


def order_frame(order: str, receipt: str) -> bytes:
    """An order to a pool process, for a stream."""
    body = marshal.dumps((order, receipt))
    return _LENGTH.pack(len(body)) + body


class Stream:
    """Takes frames off a stream socket, as many as are there."""

    def __init__(self, connection: socket.socket):
        self._socket = connection
        self._bytes = bytearray()
        self.ended = False

    def read(self) -> Iterator[tuple[object, ...]]:
        """The frames that have arrived whole; never blocks. Sets `ended` at the other end's end."""
        self._fill()
        view, start = memoryview(self._bytes), 0
        try:
            while len(view) - start >= 4:
                (length,) = _LENGTH.unpack_from(view, start)
                if len(view) - start - 4 < length:
                    break
                yield marshal.loads(view[start + 4 : start + 4 + length])  # noqa: S302 - ours
                start += 4 + length
        finally:
            view.release()
            del self._bytes[:start]

    def _fill(self) -> None:
        while not self.ended:
            try:
                chunk = self._socket.recv(LARGEST, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except ConnectionError:
                chunk = b""
            self.ended = not chunk
            self._bytes += chunk
            if len(chunk) < LARGEST:
                return
