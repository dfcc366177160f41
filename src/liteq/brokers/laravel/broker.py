"""Broker: LiteQ's verbs over Laravel's queues, so that its worker runs Laravel's jobs.

What becomes of a job is lifecycle's decision here too. What is Laravel's own stands here: chains
go on, batches count, locks of unique jobs are released, failures go on record, Horizon is told.

A queue of Laravel is a line: there are no priorities in it, and nothing is kept of a job that is
done. The order in which a worker names its queues is their priority.
"""

import json
import logging
import math
import secrets
import threading
import uuid
from collections import deque
from collections.abc import Callable, Collection, Sequence
from functools import partial
from itertools import count, groupby
from typing import Any, NamedTuple, NoReturn

from liteq import registry
from liteq.brokers.base import Clock, Listener
from liteq.brokers.laravel.base import Delivery, Driver, Look, Parcel, Settlement
from liteq.brokers.laravel.redis import RedisDriver
from liteq.brokers.laravel.reporter import Reporter
from liteq.brokers.laravel.routes import TaskRouter
from liteq.brokers.laravel.site import Observer, Route, Router, Site
from liteq.config import settings
from liteq.errors import BrokerError, BrokerUnavailable, EncodingError, UnreadablePayload
from liteq.job import (
    UNLIMITED,
    AttemptRecord,
    Change,
    Filter,
    Job,
    JobRecord,
    NewJob,
    Terms,
    Verdict,
    WorkerInfo,
)
from liteq.laravel import horizon, naming, payload, plain
from liteq.laravel.payload import Envelope, Options

logger = logging.getLogger("liteq.laravel")

_RESTART = "illuminate:queue:restart"
_PAUSED = "illuminate:queues:paused"
_EXCEPTIONS = "job-exceptions:{}"  # Laravel counts failed runs here, for `maxExceptions`
_EXCEPTIONS_TTL = 86400  # seconds, as there


class _Held(NamedTuple):
    """A delivery in this worker's hands."""

    job: Job
    delivery: Delivery
    envelope: Envelope | None  # None: it could not be read
    route: Route | None


class LaravelBroker:
    """Laravel's queues behind LiteQ's verbs; see brokers.base for what each verb promises.

    `url` says in messages where the queues are. A job is routed to the registered task of its
    name, unless there is another `router`.
    """

    # Not "ahead": Laravel counts an attempt at the claim. Not "records": it keeps none.
    supports = frozenset({"share"})

    def __init__(
        self,
        url: str,
        driver: Driver,
        site: Site,
        router: Router | None = None,
        observer: Observer | None = None,
    ):
        self.url = url
        self.clock = Clock()
        self.payload_limit = settings().payload_limit
        self.lease: float | None = site.retry_after
        self.queues = site.queues
        self.driver = driver
        self.site = site
        self._router = TaskRouter(site.encrypter) if router is None else router
        self._observer = observer
        self._reporter: Reporter | None = None
        if site.horizon is not None and isinstance(driver, RedisDriver):
            self._reporter = Reporter(driver.client, site.horizon)
        self._ids = count(1)
        self._claimant = secrets.token_hex(6)
        self._queues = site.queues
        self._held: dict[str, _Held] = {}
        self._leftover: list[_Held] = []  # reserved by a `claim` that then failed
        self._owed: deque[Callable[[], None]] = deque()  # what is still to follow from settled jobs
        self._applied: set[str] = set()  # by a `finish` that then failed, and comes again
        self._lost: set[str] = set()  # receipts of which a heartbeat has said so
        self._renewed = self.clock.wall()  # what we hold was reserved then or later, or renewed
        self._fault: str | None = None  # that was last said of `_owed`
        self._next_at: dict[str, float | None] = {}  # by queue
        self._restart: str | None = None
        self._paused: set[str] = set()
        self._lock = threading.Lock()  # a heartbeat may come from another thread

    # ── the hot path ──

    def enqueue(self, jobs: Sequence[NewJob]) -> list[int]:
        """Push calls of tasks as jobs of the class that the task is named after; local numbers.

        Arguments become properties by their names. Priority means nothing here.
        """
        now = self.clock.wall()
        parcels = [self._parcel_of(job, now) for job in jobs]
        self.push(parcels)
        return [next(self._ids) for _ in parcels]

    def push(self, parcels: Sequence[Parcel]) -> None:
        """Put payloads into their queues, and tell Horizon."""
        self.driver.push(parcels)
        if self._reporter is not None:
            now = self.clock.wall()
            for parcel in parcels:
                self._reporter.pushed(parcel.queue, parcel.body, now)
            self._reporter.flush()

    def locked(self, key: str, owner: str, ttl: int | None) -> bool:
        """Take the lock of a unique job; False if such a one is on its way already."""
        return bool(self._cache().lock(key, owner, ttl))

    def parcel(
        self,
        queue: str,
        fields: dict[str, Any],
        due: float | None = None,
        tags: Sequence[str] = (),
    ) -> Parcel:
        """The payload for a queue of this driver, ready `due` (None: at once)."""
        fields = dict(fields)
        if isinstance(self.driver, RedisDriver):  # tables keep both in columns of their own
            fields |= {"id": fields["uuid"].replace("-", ""), "attempts": 0}
        if self.site.horizon is not None:
            fields = horizon.dressed(fields, self.clock.wall(), tags=tags)
        body = payload.as_text(fields)
        return Parcel(queue, body, None if due is None else math.ceil(due))

    def claim(
        self,
        worker: str,
        queues: Sequence[str],
        limit: int,
        lease: float,
        skip: Collection[str] = (),
    ) -> list[Job]:
        """Reserve up to `limit` due jobs: all of the first queue before any of the second."""
        held = self._left_over(limit)
        try:
            for queue in queues:
                if limit <= len(held):
                    break
                if not self._is_paused(queue):
                    held += self._popped(queue, limit - len(held), skip)
            self._count_exceptions(held)
        except BrokerError:
            self._leftover[:0] = held
            raise
        self._reported(held)
        with self._lock:
            self._held.update((each.job.receipt, each) for each in held)
        if self._observer is not None:
            for each in held:
                self._observer.taken(each.job, each.envelope)
        return [each.job for each in held]

    def beat(self, worker: WorkerInfo, receipts: Collection[str], lease: float) -> Verdict:
        """Keep the reservations of all that the worker holds for `retry_after` from now."""
        if self._reporter is not None:
            self._reporter.concerns(worker)
        with self._lock:
            for gone in self._lost.difference(receipts):  # the worker has dropped them
                self._held.pop(gone, None)
            self._lost.intersection_update(receipts)
            held = [self._held[receipt] for receipt in receipts if receipt in self._held]
        if self.site.retry_after is None:
            return Verdict((), ())
        now = self.clock.wall()
        # Rounded up: reservations end at whole seconds, and a short one that is rounded down may
        # last no longer than the time between two heartbeats.
        until = math.ceil(now) + self.site.retry_after
        kept = self.driver.renew([each.delivery for each in held], until) if held else []
        self._renewed = now
        lost = [each.job.receipt for each, ours in zip(held, kept, strict=True) if not ours]
        self._lost.update(lost)
        return Verdict(lost, ())

    def cancellations(self, worker: str) -> list[str]:
        """Nobody can cancel a running job of Laravel."""
        return []

    def dismissed(self, worker: str) -> str | None:
        """Why this worker is to stop: `queue:restart`, or an order of Horizon."""
        self._pay()
        why = self._heed_signals()
        if self._reporter is not None:
            why = self._reporter.tend() or why
        return why

    def finish(self, changes: Sequence[Change], room: int = 0) -> set[int]:
        """Apply the changes whose reservation still holds; the numbers of those jobs."""
        with self._lock:
            known = [(change, self._held.get(change.receipt)) for change in changes]
        todo = [
            (change, held)
            for change, held in known
            if held is not None and change.receipt not in self._applied
        ]
        todo.sort(key=_queue_of)
        groups = [list(its) for _, its in groupby(todo, _queue_of)]
        for group in groups:  # what one says is kept, should the next one fail
            self._settle(group, room if group is groups[-1] else 0)
        accepted = {change.id for change, _ in known if change.receipt in self._applied}
        with self._lock:
            for change, _ in known:
                self._held.pop(change.receipt, None)
                self._applied.discard(change.receipt)
                self._lost.discard(change.receipt)
        self._pay()
        return accepted

    @property
    def in_hand(self) -> int:
        """How many jobs the worker has at the moment."""
        return len(self._held)

    def due_in(self, queues: Sequence[str]) -> float | None:
        """Seconds until a payload becomes ready, as the last look into each queue has told."""
        moments = [self._next_at.get(queue) for queue in queues if not self._is_paused(queue)]
        known = [moment for moment in moments if moment is not None]
        return max(0.0, min(known) - self.clock.wall()) if known else None

    def listen(self, queues: Sequence[str]) -> Listener:
        """Start to listen for payloads; the worker begins here."""
        self._queues = tuple(queues)
        self._restart = self._signal(_RESTART)
        if self._reporter is not None:
            self._reporter.begin(queues)
        return self.driver.listen(queues)

    def close(self) -> None:
        """Give back what nobody took, and let go of connections that are our own."""
        leftover = [each.delivery for each in self._leftover]
        self._leftover = []
        if isinstance(self.driver, RedisDriver):
            leftover += self.driver.unclaimed()
        try:
            self.driver.settle([Settlement(each, "return") for each in leftover])
        except BrokerError as error:  # it comes back by itself when its reservation runs out
            logger.error("%d job(s) could not be given back: %s", len(leftover), error)
        self._pay()
        if self._owed:
            logger.error("%d step(s) that follow from ended jobs are left undone", len(self._owed))
            self._owed.clear()
        self.driver.close()
        for store in (self.site.cache, self.site.ledger):
            if store is not None:
                store.close()

    # ── questions and people's actions, as far as Laravel has answers ──

    def count(self) -> list[tuple[str, str, int]]:
        """(queue, pending or running, how many) for the queues of this URL."""
        counted = []
        for queue in sorted(self.site.queues):
            ready, delayed, reserved = self.driver.counts(queue)
            counted += [(queue, "pending", ready + delayed), (queue, "running", reserved)]
        return [each for each in counted if each[2]]

    def get(self, id: int) -> JobRecord | None:
        """Laravel's queues keep nothing of a job that could be asked for by a number."""
        self._no_records("looked up")

    def attempts(self, id: int) -> list[AttemptRecord]:
        """As `get`."""
        self._no_records("looked up")

    def find(self, which: Filter, limit: int) -> list[JobRecord]:
        """As `get`."""
        self._no_records("searched")

    def oldest_due(self) -> dict[str, float]:
        """Not known: only newer Laravels write down when a job was pushed."""
        return {}

    def workers(self) -> list[WorkerInfo]:
        """None: what a dead worker held comes back when its reservation runs out."""
        return []

    def held(self, worker: str) -> list[Job]:
        """As `workers`."""
        return []

    def cancel(self, which: Filter) -> int:
        """As `get`."""
        self._no_records("cancelled")

    def revive(self, which: Filter) -> int:
        """As `get`."""
        self._no_records("retried")

    def purge(self, which: Filter) -> int:
        """Clear a whole queue, as `php artisan queue:clear`; how many payloads it held."""
        if which.queue is None or which != Filter(queue=which.queue):
            raise BrokerError(
                f"single jobs of {self.url} cannot be deleted, only whole queues: name one, and "
                "no other condition (liteq purge --queue NAME)"
            )
        return self.driver.clear(which.queue)

    def prune(self, statuses: Collection[str], age: float, limit: int) -> int:
        """Nothing: Laravel keeps no jobs that have ended."""
        return 0

    def pause(self, queue: str) -> None:
        """Pause a queue for all workers, Laravel's (from 12.40 on) too."""
        self._cache().put(self._pause_key(queue), "b:1;", None)

    def resume(self, queue: str) -> None:
        """Resume a queue."""
        self._cache().delete(self._pause_key(queue))

    def paused(self) -> dict[str, str]:
        """Paused queues of this URL; since when is not known."""
        self._heed_signals()
        return {queue: "" for queue in sorted(self._queues) if {queue, ""} & self._paused}

    def forget(self, worker: str) -> None:
        """Strike the worker off Horizon's page."""
        if self._reporter is not None:
            self._reporter.end()

    # ── claim ──

    def _left_over(self, limit: int) -> list[_Held]:
        """What a claim had reserved before it failed, as far as it is still ours and wanted."""
        leftover, lease = self._leftover, self.site.retry_after
        if leftover and lease is not None:
            until = int(self.clock.wall()) + lease
            kept = self.driver.renew([each.delivery for each in leftover], until)
            leftover = [each for each, ours in zip(leftover, kept, strict=True) if ours]
        self._leftover = leftover[limit:]
        return leftover[:limit]

    def _popped(self, queue: str, limit: int, skip: Collection[str]) -> list[_Held]:
        found = self.driver.pop(*self._look(queue, limit, skip))
        self._next_at[queue] = found.next_at
        if self._reporter is not None and isinstance(self.driver, RedisDriver):
            self._reporter.migrated(self.driver.migrated, self.clock.wall())
        return [self._taken(delivery) for delivery in found.deliveries]

    def _look(self, queue: str, limit: int, skip: Collection[str] = ()) -> Look:
        now = int(self.clock.wall())
        lease = self.site.retry_after
        return Look(queue, limit, now, None if lease is None else now + lease, tuple(skip))

    def _taken(self, delivery: Delivery) -> _Held:
        """The job of a payload; one that cannot be read says so by its terms."""
        envelope: Envelope | None = None
        try:
            envelope = payload.read(delivery.body)
            self._refuse_foreign_chain(envelope)
            route = self._router.route(envelope, delivery.body)
        except (UnreadablePayload, EncodingError) as error:
            job = self._job(delivery, envelope, None, f"{type(error).__name__}: {error}")
            return _Held(job, delivery, envelope, None)
        return _Held(self._job(delivery, envelope, route, None), delivery, envelope, route)

    def _job(
        self, delivery: Delivery, envelope: Envelope | None, route: Route | None, fault: str | None
    ) -> Job:
        number = next(self._ids)
        terms = Terms(fault=fault)
        if envelope is not None:
            terms = Terms(
                waits=envelope.backoff,
                retry_until=envelope.retry_until,
                max_exceptions=envelope.max_exceptions,
                fail_on_timeout=envelope.fail_on_timeout,
                fault=fault,
                label=f"{envelope.name} {envelope.uuid}",
            )
        return Job(
            id=number,
            name=route.name if route else (envelope.name if envelope else "(unreadable)"),
            payload=route.payload if route else "",
            queue=delivery.queue,
            priority=0,
            attempt=delivery.attempts,
            max_retries=self._max_retries(envelope, route),
            timeout=envelope.timeout if envelope else None,
            receipt=f"{self._claimant}-{number}",
            losses=delivery.attempts - 1,  # not known; so the first loss goes round at once
            at_most_once=False,
            terms=terms,
        )

    def _max_retries(self, envelope: Envelope | None, route: Route | None) -> int:
        tries = envelope.max_tries if envelope else None
        if tries is None:
            tries = self.site.tries
        if tries is None:
            return route.max_retries if route else 0
        return tries - 1 if tries > 0 else UNLIMITED

    def _refuse_foreign_chain(self, envelope: Envelope) -> None:
        """A chain that goes on where we cannot push must not begin here."""
        chain = self._chain(envelope)
        if chain is not None and chain.connection not in (None, self.site.connection):
            raise UnreadablePayload(
                f"the chain of {envelope.name} goes on on connection {chain.connection!r}, and "
                f"this worker serves {self.site.connection!r} alone; let PHP run this job"
            )

    def _chain(self, envelope: Envelope | None) -> payload.Chain | None:
        if envelope is None or envelope.command is None:
            return None
        # Most jobs are none, and to look for the word costs nothing; what is encrypted hides it.
        if not payload.is_encrypted(envelope) and '"chained";a:' not in envelope.command:
            return None
        command = payload.opened(envelope, self.site.encrypter)
        return payload.next_of_chain(command, self.clock.wall())

    def _count_exceptions(self, held: list[_Held]) -> None:
        """How often those jobs have failed whose failures are counted, PHP's runs included."""
        counted = [
            place
            for place, each in enumerate(held)
            if each.job.terms is not None and each.job.terms.max_exceptions is not None
        ]
        if not counted or self.site.cache is None:
            return
        keys = [self._exceptions_key(held[place]) for place in counted]
        for place, value in zip(counted, self.site.cache.get(keys), strict=True):
            job = held[place].job
            if value and value.isdigit() and job.terms is not None:
                job = job._replace(terms=job.terms._replace(exceptions=int(value)))
                held[place] = held[place]._replace(job=job)

    def _reported(self, held: list[_Held]) -> None:
        if self._reporter is not None:
            now = self.clock.wall()
            for each in held:
                self._reporter.reserved(each.delivery.queue, _shown(each.delivery), now)
            self._reporter.flush()

    # ── finish ──

    def _settle(self, pairs: list[tuple[Change, _Held]], room: int) -> None:
        """Settle jobs of one queue; remember which were ours, and what is to follow from them."""
        settlements = [self._settlement(change, held) for change, held in pairs]
        if room > len(self._leftover) and isinstance(self.driver, RedisDriver):
            looks = [
                self._look(queue, room - len(self._leftover))
                for queue in self._queues
                if not self._is_paused(queue)
            ]
            settled = self.driver.settle(settlements, looks[0] if looks else None)
        else:
            settled = self.driver.settle(settlements)
        for (change, held), ours in zip(pairs, settled, strict=True):
            if not ours and not self._must_be_ours(change.receipt):
                continue
            self._applied.add(change.receipt)
            self._owed += self._afterwards(change, held)
            if self._observer is not None:
                self._observer.settled(held.job, held.envelope, change)

    def _must_be_ours(self, receipt: str) -> bool:
        """Whether a reservation that is gone was settled by ourselves, and the answer was lost.

        A client that loses a connection tries again on its own. Before the reservation runs out
        nobody else can have it; half of its time is left to clocks that disagree.
        """
        lease = self.site.retry_after
        if receipt in self._lost or not isinstance(self.driver, RedisDriver):
            return False
        return lease is None or self.clock.wall() < self._renewed + lease / 2

    def _settlement(self, change: Change, held: _Held) -> Settlement:
        delivery = held.delivery
        if change.status == "pending":
            if change.attempts < held.job.attempt:
                return Settlement(delivery, "return")
            now = self.clock.wall()
            due = now if change.due is None else change.due
            return Settlement(delivery, "release", math.ceil(due) if due > now else int(now))
        if change.status == "done":
            return Settlement(delivery, "delete", follow=self._follower(held))
        return self._failed(change, held)  # Laravel knows no other end

    def _failed(self, change: Change, held: _Held) -> Settlement:
        """On record first, deleted then: who dies in between has it on record twice, not never."""
        delivery, ledger = held.delivery, self.site.ledger
        exception = _exception_text(change)
        until = int(self.clock.wall()) + (self.site.retry_after or 0)
        if ledger is not None and all(self.driver.renew([delivery], until)):
            identity = held.envelope.uuid if held.envelope else ""
            try:
                ledger.failed(
                    identity or str(uuid.uuid4()),
                    self.site.connection,
                    delivery.queue,
                    delivery.body,
                    exception,
                )
                return Settlement(delivery, "delete")
            except BrokerError as error:
                if not isinstance(self.driver, RedisDriver):
                    raise
                logger.error("failed_jobs cannot be written, keeping a dead letter: %s", error)
        return Settlement(delivery, "bury", letter=self._letter(delivery, exception))

    def _letter(self, delivery: Delivery, exception: str) -> str:
        letter = {
            "payload": delivery.body,
            "error": exception,
            "failed_at": int(self.clock.wall()),
            "queue": delivery.queue,
            "attempts": delivery.attempts,
        }
        return json.dumps(letter, ensure_ascii=False)

    def _follower(self, held: _Held) -> tuple[Parcel, ...]:
        """The next job of the chain, if it is one."""
        chain = self._chain(held.envelope)
        if chain is None or held.envelope is None:
            return ()
        now = self.clock.wall()
        fields = payload.of_command(
            chain.command,
            uuid=str(uuid.uuid4()),
            now=now,
            options=payload.options_of(chain.command),
            delay=None if chain.due is None else max(0, math.ceil(chain.due - now)),
            # Whether the next class wants it is PHP's knowledge; PHP reads both.
            encrypter=self.site.encrypter if payload.is_encrypted(held.envelope) else None,
        )
        queue = chain.queue or self.site.default_queue
        return (self.parcel(queue, fields, chain.due, _tags(chain.command)),)

    def _afterwards(self, change: Change, held: _Held) -> list[Callable[[], None]]:
        """What Laravel's handler and Horizon's listeners do once a job has been settled."""
        owed = []
        if self._reporter is not None:
            self._tell_horizon(self._reporter, change, held)
            owed.append(self._reporter.flush)
        if change.record is not None and change.record.ending in ("failed", "timeout"):
            owed.append(partial(self._note_exception, change, held))
        if change.status != "pending":
            owed += [partial(self._unlock, held), partial(self._count_in_batch, change, held)]
        return owed

    def _pay(self) -> None:
        """Do what follows from settled jobs; what a store cannot do just now, later."""
        fault: BrokerError | None = None
        for _ in range(len(self._owed)):
            step = self._owed.popleft()
            try:
                step()
            except BrokerError as error:
                self._owed.append(step)
                fault = error
                if isinstance(error, BrokerUnavailable):  # nor would it answer to the others
                    break
        if fault is not None and str(fault) != self._fault:
            logger.error("what follows from jobs that have ended must wait: %s", fault)
        self._fault = None if fault is None else str(fault)

    def _note_exception(self, change: Change, held: _Held) -> None:
        terms, cache = held.job.terms, self.site.cache
        if terms is None or terms.max_exceptions is None or cache is None:
            return
        if change.status == "pending":
            cache.count(self._exceptions_key(held), _EXCEPTIONS_TTL)
        else:
            cache.delete(self._exceptions_key(held))

    def _unlock(self, held: _Held) -> None:
        """Release the lock of a unique job, as far as its id can be known outside of PHP."""
        if held.route is None or held.envelope is None or self.site.cache is None:
            return
        data: Any = None
        unique_id: Any = None
        if held.envelope.command is not None and (
            held.route.unique_id is not None or "uniqueId" in held.envelope.command
        ):
            try:
                data = payload.data_of(held.envelope, self.site.encrypter)
            except UnreadablePayload:  # then it has failed for just that, and is on record
                return
            unique_id = data.get("uniqueId")
            if held.route.unique_id is not None:
                unique_id = _unique_id(held.route.unique_id, data, held.envelope.name)
        if unique_id is None:
            return
        command = payload.opened(held.envelope, self.site.encrypter)
        owner = command.properties.get("uniqueLockOwner")
        key = naming.unique_lock(self.site.laravel, held.envelope.name, str(unique_id))
        self.site.cache.unlock(key, owner if isinstance(owner, str) else None)

    def _count_in_batch(self, change: Change, held: _Held) -> None:
        envelope, ledger = held.envelope, self.site.ledger
        if envelope is None or ledger is None or envelope.command is None:
            return
        command = None
        if payload.is_encrypted(envelope) or '"batchId";s:' in envelope.command:
            command = self._readable(envelope)
        batch = payload.batch_of(envelope, command)
        if batch is None:
            return
        now = int(self.clock.wall())
        if change.status != "done":
            ledger.batch_failed(batch, envelope.uuid, now)
        elif ledger.batch_succeeded(batch, envelope.uuid, now):
            logger.info("batch %s is finished; callbacks that it may have are PHP's", batch)

    def _readable(self, envelope: Envelope) -> Any:
        try:
            return payload.opened(envelope, self.site.encrypter)
        except UnreadablePayload:  # then it has failed for just that, and is on record
            return None

    def _tell_horizon(self, reporter: Reporter, change: Change, held: _Held) -> None:
        now = self.clock.wall()
        queue, shown = held.delivery.queue, _shown(held.delivery)
        if change.status == "pending":
            wait = 0 if change.due is None else max(0, math.ceil(change.due - now))
            reporter.released(queue, shown, now, wait)
        elif change.status == "done":
            took = (change.ended or now) - (change.started or now)
            reporter.completed(queue, shown, now, took)
        else:
            reporter.failed(queue, shown, now, _exception_text(change))

    # ── signals ──

    def _heed_signals(self) -> str | None:
        """Read Laravel's signals; why the worker is to stop, if they say so."""
        if self.site.cache is None:
            return None
        keys = [_RESTART, _PAUSED, *(self._pause_key(queue) for queue in self._queues)]
        restart, all_paused, *paused = self.site.cache.get(keys)
        self._paused = {queue for queue, is_set in zip(self._queues, paused, strict=True) if is_set}
        if all_paused:
            self._paused.add("")
        return "told to stop by queue:restart" if restart != self._restart else None

    def _is_paused(self, queue: str) -> bool:
        return (
            "" in self._paused
            or queue in self._paused
            or (self._reporter is not None and self._reporter.paused)
        )

    def _signal(self, key: str) -> str | None:
        return None if self.site.cache is None else self.site.cache.get([key])[0]

    def _pause_key(self, queue: str) -> str:
        return f"illuminate:queue:paused:{self.site.connection}:{queue}"

    def _cache(self) -> Any:
        if self.site.cache is None:
            raise BrokerError(
                f"{self.url} knows no cache of Laravel's, where pauses are kept; add cache_prefix"
            )
        return self.site.cache

    # ── small things ──

    def _parcel_of(self, job: NewJob, now: float) -> Parcel:
        call = json.loads(job.payload)
        args, kwargs = call["args"], call["kwargs"]
        if args:
            definition = registry.get(job.name)
            if definition is None:
                raise EncodingError(
                    f"{job.name} is no task that is registered here, so the names of its arguments "
                    "are not known; pass them by name"
                )
            kwargs = definition.codec.by_name(args, kwargs)
        options = Options(
            max_tries=job.max_retries + 1,
            timeout=None if job.timeout is None else math.ceil(job.timeout),
        )
        delay = None if job.due is None else max(0, math.ceil(job.due - now))
        fields = payload.made(
            job.name, kwargs, uuid=str(uuid.uuid4()), now=now, options=options, delay=delay
        )
        return self.parcel(job.queue, fields, job.due)

    def _exceptions_key(self, held: _Held) -> str:
        return _EXCEPTIONS.format(held.envelope.uuid if held.envelope else "")

    def _no_records(self, verb: str) -> NoReturn:
        raise BrokerError(
            f"single jobs of {self.url} cannot be {verb}: Laravel keeps no record of a job beside "
            "its queue; see Horizon, or `php artisan queue:failed` and queue:retry"
        )


def _queue_of(pair: tuple[Change, _Held]) -> str:
    return pair[1].delivery.queue


def _unique_id(function: Callable[[Any], Any], data: Any, name: str) -> Any:
    """What the user's function says; None where it fails, as the job itself has ended by then."""
    try:
        return function(data)
    except Exception:
        logger.exception("unique_id of %s failed, the lock of the job stays", name)
        return None


def _shown(delivery: Delivery) -> str:
    """What Horizon shows of a delivery: the reserved text."""
    return delivery.held if delivery.held.startswith("{") else delivery.body


def _tags(command: Any) -> list[str]:
    data = plain.properties(command)
    models = [
        (str(value["class"]), value["id"])
        for value in data.values()
        if isinstance(value, dict) and {"class", "id", "relations"} <= value.keys()
    ]
    return horizon.model_tags(models)


def _exception_text(change: Change) -> str:
    """The error and where it was raised, as people read it in failed_jobs and in Horizon."""
    if change.record is not None and change.record.traceback:
        return f"{change.error}\n\n{change.record.traceback}"
    return change.error or "no reason is on record"
