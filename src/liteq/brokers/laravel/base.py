"""What a Laravel driver is: where payloads lie, and the few things that happen to them there.

A driver knows no rules and no payload's inside: texts in, texts out. Times are unix seconds by the
client's clock, as Laravel has it.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

from liteq.brokers.base import Listener


class Parcel(NamedTuple):
    """One payload on its way into a queue."""

    queue: str
    body: str  # JSON text
    available_at: int | None = None  # unix seconds; None: at once


class Delivery(NamedTuple):
    """One payload that is reserved for us."""

    queue: str
    body: str  # as it was pushed, or last released: what failed_jobs shows
    held: str  # what proves the reservation: on Redis the reserved text, in a table the row's id
    attempts: int  # this run's number, from 1


class Look(NamedTuple):
    """The arguments of `pop`."""

    queue: str
    limit: int
    now: int
    until: int | None  # None: for ever
    skip: Sequence[str] = ()


class Popped(NamedTuple):
    """What one look into a queue has brought."""

    deliveries: list[Delivery]
    next_at: float | None  # when the next delayed or reserved payload is due, where known


class Settlement(NamedTuple):
    """What becomes of a delivery; takes effect only while it is still reserved for us.

    delete    it is done, or failed and on record elsewhere
    release   again at `available_at`, its attempts kept
    return    back at the head of its queue as it was pushed: the attempt is given back
    bury      onto the list of dead letters, as `letter`
    """

    delivery: Delivery
    verb: Literal["delete", "release", "return", "bury"]
    available_at: int = 0
    letter: str = ""  # JSON text
    follow: tuple[Parcel, ...] = ()  # pushed in the same step


class Counts(NamedTuple):
    """How many payloads a queue holds."""

    ready: int
    delayed: int
    reserved: int


class Driver(Protocol):
    """Raises BrokerError and its kinds, never a client's own errors."""

    def push(self, parcels: Sequence[Parcel]) -> None:
        """Put the payloads into their queues, each queue's in order."""

    def pop(
        self, queue: str, limit: int, now: int, until: int | None, skip: Sequence[str] = ()
    ) -> Popped:
        """Reserve up to `limit` due payloads of a queue until then (None: for ever).

        First what was delayed, or reserved by somebody who is gone, and is due by `now` goes back
        into the queue, as Laravel's own worker does it. Payloads of the job classes in `skip`
        stay, and only the first thousand are looked at for others.
        """

    def renew(self, deliveries: Sequence[Delivery], until: int) -> list[bool]:
        """Hold them until then; which of them are still ours."""

    def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """Apply each settlement whose delivery is still ours; which ones were."""

    def counts(self, queue: str) -> Counts:
        """How many payloads the queue holds."""

    def clear(self, queue: str) -> int:
        """Delete all of the queue's payloads; how many there were."""

    def listen(self, queues: Sequence[str]) -> Listener:
        """Start to listen for payloads."""

    def close(self) -> None:
        """Let go of connections that are our own."""


class Cache(Protocol):
    """Laravel's cache, as far as queues need it; keys without the cache's prefix.

    Values are texts as Laravel's Redis store holds them, wherever they lie: numbers, and strings
    of PHP's that look like one, as they are (`5`), all else PHP serialize()d (`b:1;`).
    """

    def get(self, keys: Sequence[str]) -> list[str | None]:
        """The values that lie under these keys, None for what is not there (or expired)."""

    def put(self, key: str, value: str, ttl: int | None) -> None:
        """Store a value, for `ttl` seconds (None: for ever)."""

    def count(self, key: str, ttl: int) -> int:
        """Add one to a counter that lives for `ttl` seconds from its start; what it is now."""

    def delete(self, key: str) -> None:
        """Take a value out."""

    def lock(self, key: str, owner: str, ttl: int | None) -> bool:
        """Take the lock for `ttl` seconds (None: until released); False if somebody has it."""

    def unlock(self, key: str, owner: str | None) -> None:
        """Release the lock if `owner` holds it (None: whoever holds it)."""

    def close(self) -> None:
        """Let go of connections that are our own."""


class Ledger(Protocol):
    """Laravel's tables of failed jobs and of batches, which may lie beside a queue on Redis."""

    def failed(self, uuid: str, connection: str, queue: str, body: str, exception: str) -> None:
        """Put a payload on record as failed; once for each uuid."""

    def batch_succeeded(self, batch: str, uuid: str, now: int) -> bool:
        """Count a batch's job as done; whether that was its last one."""

    def batch_failed(self, batch: str, uuid: str, now: int) -> None:
        """Count a batch's job as failed; the first cancels the batch unless it allows failures."""

    def batch_cancelled(self, batch: str) -> bool:
        """Whether the batch was cancelled, or is gone."""

    def close(self) -> None:
        """Let go of connections that are our own."""
