"""Wire: jobs and outcomes as bytes between a worker and its own pool processes.

marshal is the fastest codec at hand and safe here: both ends are one program of one version, and
nothing from outside is ever read with it.
"""

import contextlib
import fcntl
import marshal
import multiprocessing
import os
import socket
import struct
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection

from liteq.job import Job, Outcome

# Sockets that keep message borders: many processes may read from one, each takes whole jobs.
MESSAGES = getattr(socket, "SOCK_SEQPACKET", socket.SOCK_DGRAM)
LARGEST = 64 * 1024  # bytes; a job larger than that travels as a file, its message names it
_PIPE = 512 * 1024  # bytes asked of the kernel
_LENGTH = struct.Struct("<I")
_TOLD = Job._fields.index("terms")  # what follows a run's end is the worker's business


def job_message(job: Job, spill_path: Callable[[], str]) -> bytes:
    """One message for the job; if it is large, its body goes into a file at `spill_path()`."""
    message = marshal.dumps(job[:_TOLD])
    if len(message) <= LARGEST:
        return message
    spill = spill_path()
    descriptor = os.open(spill, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
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
    return Job(*content)


def outcome_frame(outcome: Outcome) -> bytes:
    """The outcome for a stream: its length, then itself."""
    body = marshal.dumps(tuple(outcome))
    return _LENGTH.pack(len(body)) + body


def order_frame(order: str, receipt: str) -> bytes:
    """An order to a pool process, for a stream."""
    body = marshal.dumps((order, receipt))
    return _LENGTH.pack(len(body)) + body


def pipe() -> tuple[Connection, Connection]:
    """A new way in one direction: its reading end, which never blocks, and its writing end.

    A pipe, not a socket: it packs small frames into pages, so that a hundred are read for the
    price of one; a socket keeps each by itself, at 3 µs a piece.
    """
    reader, writer = multiprocessing.Pipe(duplex=False)
    os.set_blocking(reader.fileno(), False)
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):  # a limit of the system: then it is the usual 64 KB
            fcntl.fcntl(writer.fileno(), fcntl.F_SETPIPE_SZ, _PIPE)
    return reader, writer


def send(descriptor: int, frame: bytes) -> None:
    """Write all of the frame, waiting for room as needed."""
    written = os.write(descriptor, frame)
    while written < len(frame):  # larger than the pipe, or a signal came in between
        frame = frame[written:]
        written = os.write(descriptor, frame)


class Stream:
    """Takes frames off the reading end of a pipe, as many as are there."""

    def __init__(self, descriptor: int):
        self._descriptor = descriptor
        self._bytes = bytearray()
        self.ended = False

    def read(self) -> Iterator[tuple[object, ...]]:
        """The frames that have arrived whole; never blocks. Sets `ended` at the other end's end."""
        self._fill()
        view, start, end = memoryview(self._bytes), 0, len(self._bytes)
        try:
            while end - start >= 4:
                (length,) = _LENGTH.unpack_from(view, start)
                stop = start + 4 + length
                if stop > end:
                    break
                yield marshal.loads(view[start + 4 : stop])  # noqa: S302 - ours
                start = stop
        finally:
            view.release()
            del self._bytes[:start]

    def _fill(self) -> None:
        while not self.ended:
            try:
                chunk = os.read(self._descriptor, LARGEST)
            except BlockingIOError:
                return
            self.ended = not chunk
            self._bytes += chunk
            if len(chunk) < LARGEST:
                return
