"""Raw Redis: what plain redis-py does with the scripts of Laravel's queues. The limits.

One connection and no rules: a payload that is there already is pushed, popped and deleted; nothing
is read, nobody is called, nothing is retried.
"""

import asyncio
import itertools
import secrets
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import redis
import redis.asyncio

from liteq.brokers.laravel.client import script
from liteq.brokers.laravel.redis import Keys

RETRY_AFTER = 90  # seconds
# As Laravel's own `Illuminate\Queue\LuaScripts` do it, in our words.
_PUSH = """
redis.call('rpush', KEYS[1], ARGV[1])
redis.call('rpush', KEYS[2], 1)
"""
_MIGRATE = """
local due = redis.call('zrangebyscore', KEYS[1], '-inf', ARGV[1])
if next(due) ~= nil then
  redis.call('zremrangebyrank', KEYS[1], 0, #due - 1)
  redis.call('rpush', KEYS[2], unpack(due))
end
return due
"""
_POP = """
local job, reserved = redis.call('lpop', KEYS[1]), false
if job ~= false then
  reserved = cjson.decode(job)
  reserved['attempts'] = reserved['attempts'] + 1
  reserved = cjson.encode(reserved)
  redis.call('zadd', KEYS[2], ARGV[1], reserved)
  redis.call('lpop', KEYS[3])
end
return {job, reserved}
"""


class Step(NamedTuple):
    """One command: a script's digest, and the keys it is for."""

    digest: str
    keys: tuple[str, ...]

    def command(self, *arguments: str | bytes | int) -> tuple[str | bytes | int, ...]:
        """As `evalsha` wants it."""
        return self.digest, len(self.keys), *self.keys, *arguments


class Steps:
    """The commands for one queue, known to the server."""

    def __init__(self, client: redis.Redis, queue: str):
        keys = Keys()
        self.ready, self.delayed = keys.ready(queue), keys.delayed(queue)
        self.reserved, self.notify = keys.reserved(queue), keys.notify(queue)
        places = self.ready, self.delayed, self.reserved, self.notify, keys.dead(queue)

        def known(source: str) -> str:
            return str(client.script_load(source))

        self.push = Step(known(script("push").source), (self.ready, self.notify, self.delayed))
        claim = f"{self.ready}:claim:{secrets.token_hex(3)}"
        self.pop = Step(known(script("pop").source), (*places, claim))
        self.settle = Step(known(script("settle").source), places)
        self.laravel_push = Step(known(_PUSH), (self.ready, self.notify))
        migrate = known(_MIGRATE)
        self.laravel_migrate = [
            Step(migrate, (source, self.ready)) for source in (self.delayed, self.reserved)
        ]
        self.laravel_pop = Step(known(_POP), (self.ready, self.reserved, self.notify))


def pushes(client: redis.Redis, queue: str, bodies: Sequence[bytes]) -> float:
    """Payloads a second, one script each."""
    push = Steps(client, queue).push
    began = time.perf_counter()
    for body in bodies:
        client.evalsha(*push.command("", body))
    return len(bodies) / (time.perf_counter() - began)


def pushes_in_bulk(client: redis.Redis, queue: str, bodies: Sequence[bytes]) -> float:
    """Payloads a second, a thousand a script."""
    push = Steps(client, queue).push
    began = time.perf_counter()
    for first in range(0, len(bodies), 1000):
        each = [part for body in bodies[first : first + 1000] for part in ("", body)]
        client.evalsha(*push.command(*each))
    return len(bodies) / (time.perf_counter() - began)


def pops(client: redis.Redis, queue: str, count: int) -> float:
    """Payloads a second, popped and deleted one by one. Raises ValueError if there are too few."""
    steps = Steps(client, queue)
    began = time.perf_counter()
    for number in range(1, count + 1):
        found = client.evalsha(*_pop(steps.pop, number))[4]
        client.evalsha(*_delete(steps.settle, found))
    return count / (time.perf_counter() - began)


def laravel_pushes(client: redis.Redis, queue: str, bodies: Sequence[bytes]) -> float:
    """As `pushes`, with Laravel's own script."""
    push = Steps(client, queue).laravel_push
    began = time.perf_counter()
    for body in bodies:
        client.evalsha(*push.command(body))
    return len(bodies) / (time.perf_counter() - began)


def laravel_pops(client: redis.Redis, queue: str, count: int) -> float:
    """As `pops`, with Laravel's own scripts: migrate twice, pop, and a ZREM."""
    steps = Steps(client, queue)
    began = time.perf_counter()
    for _ in range(count):
        now = int(time.time())
        for step in steps.laravel_migrate:
            client.evalsha(*step.command(now))
        _, held = client.evalsha(*steps.laravel_pop.command(now + RETRY_AFTER))
        client.zrem(steps.reserved, held)
    return count / (time.perf_counter() - began)


def serve(client: redis.Redis, queue: str, ran: Callable[[bytes], object]) -> None:
    """Wait for payloads as Laravel's `block_for` does, and hand each to `ran`; for ever."""
    steps = Steps(client, queue)
    for number in itertools.count(1):
        found = client.evalsha(*_pop(steps.pop, number))[4]
        if found:
            ran(found[0])
            client.evalsha(*_delete(steps.settle, found))
        else:
            client.blpop([steps.notify], timeout=1)


async def apushes(
    client: redis.asyncio.Redis, steps: Steps, bodies: Sequence[bytes], tasks: int
) -> float:
    """As `pushes`, by so many tasks at a time."""

    async def push(mine: Sequence[bytes]) -> None:
        for body in mine:
            await client.evalsha(*steps.push.command("", body))

    began = time.perf_counter()
    await asyncio.gather(*(push(bodies[each::tasks]) for each in range(tasks)))
    return len(bodies) / (time.perf_counter() - began)


async def apops(client: redis.asyncio.Redis, steps: Steps, count: int, tasks: int) -> float:
    """As `pops`, by so many tasks at a time, each for itself."""

    async def work(name: int) -> None:
        pop = Step(steps.pop.digest, (*steps.pop.keys[:-1], f"{steps.pop.keys[-1]}{name}"))
        for number in range(1, count // tasks + 1):
            found = (await client.evalsha(*_pop(pop, number)))[4]
            await client.evalsha(*_delete(steps.settle, found))

    began = time.perf_counter()
    await asyncio.gather(*(work(name) for name in range(tasks)))
    return count / (time.perf_counter() - began)


def _pop(step: Step, number: int) -> tuple[str | bytes | int, ...]:
    now = int(time.time())
    return step.command(now, now + RETRY_AFTER, 1, number, number - 1)


def _delete(step: Step, found: Sequence[bytes]) -> tuple[str | bytes | int, ...]:
    _, held = found
    return step.command("delete", held, "", 0, "", 0)
