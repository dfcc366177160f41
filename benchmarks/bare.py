"""Bare: the least that a worker could be, as the raw limit of latency, idle time and memory.

A parent and forked children without any of LiteQ: the parent sleeps until a datagram comes,
claims one row by plain SQL and hands it to a child over a socket pair; the child notes the time.
It also looks at the database twice a second, as a worker must that others may die beside.

    python -m benchmarks.bare DATABASE SOCKET STAMPS PROCESSES
"""

import os
import select
import socket
import sqlite3
import sys

from benchmarks import raw

_CLAIM = """
UPDATE tasks SET status = 'running', attempts = attempts + 1, worker_id = 'bare'
WHERE id IN (SELECT id FROM tasks WHERE status = 'pending' AND place > 0 AND queue = 'bench'
             ORDER BY priority DESC, place, id LIMIT 1)
RETURNING id, payload
"""


def main(database: str, address: str, stamps: str, processes: str) -> None:
    """Serve until killed by SIGTERM."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for _ in range(int(processes)):
        if os.fork() == 0:
            ours.close()
            _run(theirs, stamps)
            os._exit(0)
    theirs.close()
    bell = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    bell.bind(address)
    with raw.connected(database) as connection:
        while True:
            if select.select([bell], [], [], 0.5)[0]:
                bell.recv(16)
                _serve(connection, ours)
            connection.execute("PRAGMA data_version").fetchone()


def _serve(connection: sqlite3.Connection, children: socket.socket) -> None:
    for _, payload in connection.execute(_CLAIM).fetchall():
        children.send(payload.encode())


def _run(jobs: socket.socket, stamps: str) -> None:
    os.environ["BENCH_STAMPS"] = stamps
    from benchmarks.stamps import write_stamp

    while message := jobs.recv(1024):
        write_stamp(int(message))


if __name__ == "__main__":
    main(*sys.argv[1:])
