"""Listener: a process that waits for Laravel's jobs and notes when each has begun.

`python -m benchmarks.listener KIND PORT QUEUE`, KIND being Queue, AsyncQueue or raw (redis-py).
"""

import asyncio
import json
import re
import sys
from collections.abc import Callable

import redis
import redis.asyncio

from benchmarks import raw_redis
from benchmarks.stamps import write_stamp
from lara_queue import AsyncQueue, Queue

_NUMBER = re.compile(r'"number";i:(-?\d+);')


def main(kind: str, port: str, queue: str) -> None:
    """Listen until SIGTERM."""
    kinds: dict[str, Callable[[int, str], None]] = {
        "Queue": _blocking,
        "AsyncQueue": _awaiting,
        "raw": _raw,
    }
    kinds[kind](int(port), queue)


def _blocking(port: int, name: str) -> None:
    queue = Queue(redis.Redis(port=port), queue=name)

    @queue.handler
    def note(job):
        write_stamp(job["data"]["number"])

    queue.listen()


def _awaiting(port: int, name: str) -> None:
    async def listen() -> None:
        queue = AsyncQueue(redis.asyncio.Redis(port=port), queue=name)

        @queue.handler
        async def note(job):
            write_stamp(job["data"]["number"])

        await queue.listen()

    asyncio.run(listen())


def _raw(port: int, name: str) -> None:
    def note(body: bytes) -> None:
        [number] = _NUMBER.findall(json.loads(body)["data"]["command"])[:1]
        write_stamp(int(number))

    raw_redis.serve(redis.Redis(port=port), name, note)


if __name__ == "__main__":
    main(*sys.argv[1:])
