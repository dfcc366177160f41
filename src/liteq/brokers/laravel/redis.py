"""Redis: Laravel's `redis` driver. Four keys a queue, and one script for each thing that happens.

The keys and what lies in them: PROTOCOL of Laravel's own `Illuminate\\Queue\\RedisQueue` and
`LuaScripts`, as of Laravel 8 to 13. Two lists more are ours: `:dead`, what nobody could run, and
`:claim:…`, the last answer of `pop.lua` until it has been heard.
"""

import contextlib
import logging
import secrets
import socket
import threading
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any, NamedTuple

from liteq.brokers.laravel.base import Counts, Delivery, Look, Parcel, Popped, Settlement
from liteq.brokers.laravel.client import Client, ScriptCall
from liteq.errors import BrokerError

logger = logging.getLogger("liteq.laravel")

_PUSH_BATCH = 1000  # payloads a script, so that others get their turn on the server


class Keys(NamedTuple):
    """The names of keys, as Laravel makes them."""

    prefix: str = "laravel_database_"
    cluster: bool = False  # Laravel 13.5 puts braces around queues of a cluster

    def ready(self, queue: str) -> str:
        """The list of payloads that are ready; the other keys begin with it."""
        braced = self.cluster and not ("{" in queue and "}" in queue)
        return f"{self.prefix}queues:{{{queue}}}" if braced else f"{self.prefix}queues:{queue}"

    def delayed(self, queue: str) -> str:
        """The sorted set of those that wait for their time."""
        return f"{self.ready(queue)}:delayed"

    def reserved(self, queue: str) -> str:
        """The sorted set of those that somebody runs."""
        return f"{self.ready(queue)}:reserved"

    def notify(self, queue: str) -> str:
        """The list with an element for each payload that is ready."""
        return f"{self.ready(queue)}:notify"

    def dead(self, queue: str) -> str:
        """The list of dead letters, ours."""
        return f"{self.ready(queue)}:dead"


@lru_cache(maxsize=1000)
def _places(keys: Keys, queue: str) -> tuple[str, ...]:
    """The keys of one queue: ready, delayed, reserved, notify and dead letters."""
    names = (keys.ready, keys.delayed, keys.reserved, keys.notify, keys.dead)
    return tuple(name(queue) for name in names)


class RedisDriver:
    """The driver for one Redis, through any client."""

    def __init__(self, client: Client, keys: Keys, *, block: float = 1.0):
        self.client = client
        self.keys = keys
        self._block = block
        self._claimant = secrets.token_hex(6)
        self._claims = 0
        self._heard: dict[str, int] = {}
        self._ahead: dict[str, tuple[int, Any]] = {}  # claims whose answers came with a settlement
        self._pushed: set[tuple[str, str]] = set()  # deliveries whose followers went ahead of them
        self.migrated: list[tuple[str, str]] = []  # (queue, payload), of the last pop

    def push(self, parcels: Sequence[Parcel]) -> None:
        """Put the payloads into their queues, each queue's in order."""
        for call in self.push_calls(parcels):
            self.client.run(*call)

    def push_calls(self, parcels: Sequence[Parcel]) -> list[ScriptCall]:
        """The same as scripts to run, for a client that is awaited."""
        calls: list[ScriptCall] = []
        by_queue: dict[str, list[Parcel]] = {}
        for parcel in parcels:
            by_queue.setdefault(parcel.queue, []).append(parcel)
        for queue, its in by_queue.items():
            for first in range(0, len(its), _PUSH_BATCH):
                arguments: list[str] = []
                for _, body, at in its[first : first + _PUSH_BATCH]:
                    arguments += ("" if at is None else str(at), body)
                calls.append(("push", self._push_places(queue), arguments))
        return calls

    def pop(
        self, queue: str, limit: int, now: int, until: int | None, skip: Sequence[str] = ()
    ) -> Popped:
        """Reserve up to `limit` due payloads of a queue until then (None: for ever)."""
        known = self._ahead.pop(queue, None)
        if known is None:
            number, call = self._popping(Look(queue, limit, now, until, skip))
            known = number, self.client.run(*call)
        number, (next_at, migrated, aside, runs, found) = known
        if found:
            self._heard[queue] = number
        self.migrated = [(queue, body) for body in migrated]
        for body, why in zip(aside[::2], aside[1::2], strict=True):
            logger.error(
                "queue %s: a payload %s; it is kept in %s: %.200r",
                *(queue, why, self.keys.dead(queue), body),
                extra={"queue": queue},
            )
        deliveries = [
            Delivery(queue, body, held, run)
            for body, held, run in zip(found[::2], found[1::2], runs, strict=True)
        ]
        return Popped(deliveries, float(next_at) if next_at else None)

    def _popping(self, look: Look) -> tuple[int, ScriptCall]:
        """The number of a claim, and how to make it."""
        places = _places(self.keys, look.queue)
        self._claims += 1
        until = "" if look.until is None else look.until
        heard = self._heard.get(look.queue, 0)
        arguments = (look.now, until, look.limit, self._claims, heard, *look.skip)
        keys = (*places, f"{places[0]}:claim:{self._claimant}")
        return self._claims, ("pop", keys, arguments)

    def renew(self, deliveries: Sequence[Delivery], until: int) -> list[bool]:
        """Hold them until then; which of them are still ours."""
        kept: list[bool] = []
        for queue, its in groupby(deliveries, lambda each: each.queue):
            held = [each.held for each in its]
            kept += map(bool, self.client.run("renew", [self.keys.reserved(queue)], [until, *held]))
        return kept

    def settle(self, settlements: Sequence[Settlement], ahead: Look | None = None) -> list[bool]:
        """Apply each settlement whose delivery is still ours; which ones were.

        `ahead`: the next call of `pop`, whose answer is to come along in the same round trip.
        """
        settled: list[bool] = []
        groups = groupby(settlements, lambda each: each.delivery.queue)
        calls = [self._settling(queue, list(its)) for queue, its in groups]
        for call in calls[:-1]:
            settled += map(bool, self.client.run(*call))
        for call in calls[-1:]:
            settled += map(bool, self._settled(call, ahead))
        if self._pushed:
            gone = {(each.delivery.queue, each.delivery.held) for each in settlements}
            self._pushed.difference_update(gone)
        return settled

    def _settled(self, call: ScriptCall, ahead: Look | None) -> list[int]:
        if ahead is None or "{" in call[1][0]:  # a cluster's clients know no pipeline of scripts
            return list(self.client.run(*call))
        number, popping = self._popping(ahead)
        settled, popped = self.client.run_all([call, popping])
        self._ahead[ahead.queue] = number, popped
        return list(settled)

    def counts(self, queue: str) -> Counts:
        """How many payloads the queue holds."""
        keys = self.keys
        return Counts(
            *self.client.send_all(
                [
                    ("LLEN", keys.ready(queue)),
                    ("ZCARD", keys.delayed(queue)),
                    ("ZCARD", keys.reserved(queue)),
                ]
            )
        )

    def clear(self, queue: str) -> int:
        """Delete all of the queue's payloads; how many there were. Dead letters stay."""
        keys = self.keys
        places = [keys.ready(queue), keys.delayed(queue), keys.reserved(queue), keys.notify(queue)]
        return int(self.client.run("clear", places, ()))

    def dead(self, queue: str, limit: int) -> list[str]:
        """The newest dead letters of a queue, newest first: JSON texts."""
        letters = self.client.send("LRANGE", self.keys.dead(queue), -limit, -1)
        return list(reversed(letters))

    def bury(self, queue: str, letter: str) -> None:
        """Put a dead letter onto the list."""
        self.client.send("RPUSH", self.keys.dead(queue), letter)

    def exhume(self, queue: str, letter: str, body: str | None) -> bool:
        """Take a dead letter off the list, and push `body` if given; False if it is gone."""
        gone = self.client.send("LREM", self.keys.dead(queue), -1, letter)
        if gone and body is not None:
            self.push([Parcel(queue, body)])
        return bool(gone)

    def listen(self, queues: Sequence[str]) -> "Bell":
        """Start to listen for payloads."""
        return Bell(self.client, [self.keys.notify(queue) for queue in queues], self._block)

    def unclaimed(self) -> list[Delivery]:
        """What has come along with a settlement and was not asked for by a `pop` since."""
        queues = list(self._ahead)
        return [each for queue in queues for each in self.pop(queue, 0, 0, None).deliveries]

    def close(self) -> None:
        """Let go of connections that are our own."""
        self.client.close()

    def _push_places(self, queue: str) -> tuple[str, ...]:
        ready, delayed, _, notify, _ = _places(self.keys, queue)
        return ready, notify, delayed

    def _settling(self, queue: str, settlements: list[Settlement]) -> ScriptCall:
        places = [*_places(self.keys, queue)]
        if "{" in places[0]:  # on a cluster each queue may lie on another server
            settlements = [self._followed(each) for each in settlements]
        place_of: dict[str, int] = {}
        arguments: list[str | int] = []
        for delivery, verb, at, letter, follow in settlements:
            body = delivery.body if verb == "return" else ""
            arguments += (verb, delivery.held, body, at, letter, len(follow))
            for parcel in follow:
                if parcel.queue not in place_of:
                    place_of[parcel.queue] = len(places) + 1
                    places += self._push_places(parcel.queue)
                due = "" if parcel.available_at is None else parcel.available_at
                arguments += (place_of[parcel.queue], due, parcel.body)
        return "settle", places, arguments

    def _followed(self, settlement: Settlement) -> Settlement:
        """Push followers into other queues first: a step has keys of one server of a cluster."""
        queue, held = settlement.delivery.queue, settlement.delivery.held
        others = [parcel for parcel in settlement.follow if parcel.queue != queue]
        if not others:
            return settlement
        # Once only, should the settlement fail now and come again.
        score = self.client.send("ZSCORE", self.keys.reserved(queue), held)
        if score is not None and (queue, held) not in self._pushed:
            self.push(others)
            self._pushed.add((queue, held))
        staying = tuple(parcel for parcel in settlement.follow if parcel.queue == queue)
        return settlement._replace(follow=staying)


class RedisCache:
    """Laravel's cache on Redis: see `Cache`. The prefix is Redis' and then the cache's own.

    Its locks may be in another database than all else; Laravel's are, unless told otherwise.
    """

    def __init__(self, client: Client, prefix: str, locks: Client | None = None):
        self._client = client
        self._prefix = prefix
        self._locks = client if locks is None else locks

    def get(self, keys: Sequence[str]) -> list[str | None]:
        """The values under these keys."""
        # No MGET: on a cluster the keys lie on several servers.
        return self._client.send_all([("GET", self._prefix + key) for key in keys])

    def put(self, key: str, value: str, ttl: int | None) -> None:
        """Store a value."""
        self._client.send("SET", self._prefix + key, value, *(() if ttl is None else ("EX", ttl)))

    def count(self, key: str, ttl: int) -> int:
        """Add one to a counter; what it is now."""
        key = self._prefix + key
        return int(self._client.send_all([("SET", key, 0, "EX", ttl, "NX"), ("INCR", key)])[1])

    def delete(self, key: str) -> None:
        """Take a value out."""
        self._client.send("DEL", self._prefix + key)

    def lock(self, key: str, owner: str, ttl: int | None) -> bool:
        """Take the lock; False if somebody has it."""
        life = ("EX", ttl) if ttl else ()
        return bool(self._locks.send("SET", self._prefix + key, owner, "NX", *life))

    def unlock(self, key: str, owner: str | None) -> None:
        """Release the lock if `owner` holds it (None: whoever holds it)."""
        self._locks.run("unlock", [self._prefix + key], ["" if owner is None else owner])

    def close(self) -> None:
        """Let go of connections that are our own."""
        self._client.close()
        self._locks.close()


class Bell:
    """The `Listener`: a thread that waits at `:notify` while the worker sleeps.

    It takes the element that says "one payload is ready", as a Laravel worker with `block_for`
    does; if the worker does not sleep any more, it puts it back for somebody who does.
    """

    def __init__(self, client: Client, keys: Sequence[str], block: float):
        self._client = client
        self._keys = list(keys)
        self._last = f"{keys[0]}:{secrets.token_hex(6)}"  # rung by ourselves, to end a wait
        self._block = block
        self._waiting = False
        self._wanted = threading.Event()
        self._open = True
        self._rung = False
        self._lock = threading.Lock()
        self._reading, self._writing = socket.socketpair()
        self._reading.setblocking(False)
        self._thread: threading.Thread | None = None

    def fileno(self) -> int:
        """Readable when a sleeping worker is wanted."""
        return self._reading.fileno()

    def arm(self) -> None:
        """From now on ring me."""
        if self._block <= 0:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="liteq-bell", daemon=True)
            self._thread.start()
        self._wanted.set()

    def disarm(self) -> None:
        """I am awake and look by myself; forget the rings that came."""
        self._wanted.clear()
        with self._lock:
            if self._rung:
                self._reading.recv(64)
                self._rung = False

    def stirred(self) -> bool:
        """Always: delayed payloads, and those of producers that ring no bell, make no sound."""
        return True

    def close(self) -> None:
        """Leave; nobody rings any more, and no command is left waiting."""
        with self._lock:
            self._open = False
            self._reading.close()
            self._writing.close()
        self._wanted.set()
        if self._waiting:
            # It may have ended just now: then the key goes by itself.
            with contextlib.suppress(BrokerError):  # and if Redis is gone, so is the wait
                self._client.send_all([("RPUSH", self._last, 1), ("EXPIRE", self._last, 5)])
        if self._thread is not None:
            self._thread.join(self._block)

    def _serve(self) -> None:
        while self._wait():
            try:
                heard = self._heard()
                if heard is not None:
                    self._ring(heard)
            except BrokerError:  # the worker meets the same and reports it; it polls meanwhile
                self._wanted.clear()
            except Exception:
                if self._open:
                    raise
                # Its client was closed under a wait that nobody needs any more.

    def _wait(self) -> bool:
        if self._open:  # a fault may have cleared what `close` has set
            self._wanted.wait()
        return self._open

    def _heard(self) -> str | None:
        """The key that an element came from, or None after a while."""
        for keys in self._slots():
            self._waiting = True
            try:
                reply = self._client.send("BLPOP", *keys, self._last, f"{self._block:g}")
            finally:
                self._waiting = False
            if reply and reply[0] != self._last:
                return str(reply[0])
        return None

    def _slots(self) -> Iterable[Sequence[str]]:
        """The keys that one command may name: on a cluster each by itself, the first one only."""
        braces = {key[key.find("{") : key.find("}")] for key in self._keys if "{" in key}
        return [self._keys[:1]] if len(braces) > 1 else [self._keys]

    def _ring(self, key: str) -> None:
        with self._lock:
            if self._open and self._wanted.is_set():
                self._wanted.clear()
                self._rung = True
                self._writing.send(b"!")
                return
        self._client.send("LPUSH", key, 1)
