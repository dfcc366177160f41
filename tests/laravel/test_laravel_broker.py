"""LiteQ's verbs over Laravel's queues on Redis: what is remembered, what happens after faults."""

import json
import logging
import math
import sqlite3
import time
from contextlib import closing
from datetime import datetime, timezone
from datetime import time as dtime
from decimal import Decimal
from uuid import UUID

import artisan
import pytest

from liteq import lifecycle, registry, task
from liteq.brokers.laravel.base import Parcel
from liteq.brokers.laravel.broker import LaravelBroker
from liteq.brokers.laravel.client import Blocking
from liteq.brokers.laravel.connection import connector
from liteq.brokers.laravel.ledger import DatabaseLedger
from liteq.brokers.laravel.redis import Keys, RedisCache, RedisDriver
from liteq.brokers.laravel.routes import TaskRouter, _plain, unique_by
from liteq.brokers.laravel.site import Site
from liteq.errors import BrokerError, BrokerUnavailable, UnreadablePayload
from liteq.job import Filter, NewJob, Outcome, WorkerInfo
from liteq.laravel import payload, plain
from liteq.laravel.encryption import Encrypter
from liteq.laravel.horizon import Horizon
from liteq.laravel.phpserialize import PhpObject, dumps

P = "laravel_database_queues:"
DEFAULT = f"{P}default"
CACHE = "laravel_database_laravel_cache_:"  # as Laravel 8 has it
NOBODY = WorkerInfo("w", "h", ("default",), 1, 0, "", "", 0.0)
LEASE = 90


class Part:
    """A driver or a store that refuses, or forgets to answer, what a test names."""

    def __init__(self, behind):
        self._behind = behind
        self.broken = {}  # by verb: the error, raised instead
        self.deaf = {}  # by verb: the error, raised after it was done
        self.calls = []

    def __getattr__(self, name):
        found = getattr(self._behind, name)
        if not callable(found):
            return found

        def call(*arguments, **options):
            self.calls.append(name)
            if name in self.broken:
                raise self.broken[name]
            answer = found(*arguments, **options)
            if name in self.deaf:
                raise self.deaf.pop(name)
            return answer

        return call


class Driver(Part, RedisDriver):
    """It must be a RedisDriver, as the broker asks for that."""

    def __init__(self, behind):
        Part.__init__(self, behind)


for verb in ("push", "pop", "renew", "settle", "counts", "clear", "dead", "listen", "close"):
    setattr(Driver, verb, property(lambda self, verb=verb: Part.__getattr__(self, verb)))
for name in ("keys", "client", "migrated"):
    setattr(Driver, name, property(lambda self, name=name: getattr(self._behind, name)))


class Clock:
    """Time as a test has it."""

    def __init__(self):
        self.now = time.time()

    def wall(self):
        return self.now

    def steady(self):
        return self.now


class Seen:
    """An observer that notes what it is told."""

    def __init__(self):
        self.taken_jobs = []
        self.settled_jobs = []

    def taken(self, job, envelope):
        self.taken_jobs.append(envelope.uuid if envelope else None)

    def settled(self, job, envelope, change):
        self.settled_jobs.append((envelope.uuid if envelope else None, change.status))


@pytest.fixture
def tables(laravel):
    """Laravel's own SQLite file: `tables("failed_jobs")` are rows of it."""

    def rows(table, columns="*"):
        with closing(sqlite3.connect(laravel.database)) as link:
            return link.execute(f"SELECT {columns} FROM {table}").fetchall()

    return rows


@pytest.fixture
def made(redis_client, laravel, monkeypatch):
    """`made(…)`: a broker beside `laravel`, with fields of its Site changed."""
    monkeypatch.setattr(registry, "_definitions", {})
    for name in ("Plain", "Step", "InBatch", "Unique", "Fails", "Fragile", "Secret"):
        task(name=f"App\\Jobs\\{name}", max_retries=2)(lambda **properties: None)
    brokers = []

    def make(**changes):
        client = Blocking(redis_client)
        driver = Driver(RedisDriver(client, Keys()))
        ledger = DatabaseLedger(*connector(f"sqlite:///{laravel.database}"))
        site = Site(
            queues=("default", "low"),
            retry_after=LEASE,
            laravel=8,
            cache=Part(RedisCache(client, CACHE)),
            ledger=Part(ledger),
            encrypter=Encrypter(artisan.APP_KEY),
        )._replace(**changes)
        broker = LaravelBroker("laravel+redis://here", driver, site, observer=Seen())
        broker.clock = Clock()
        brokers.append((broker, ledger))
        return broker

    yield make
    for broker, ledger in brokers:
        broker.driver.broken.clear()
        broker.close()
        ledger.close()


@pytest.fixture
def broker(made):
    return made()


def body(number=1, name="App\\Jobs\\Plain", properties=None, **fields):
    command = PhpObject(name, properties or {})
    made = payload.of_command(command, uuid=f"u{number}", now=1.0)
    return payload.as_text({**made, "id": "i", "attempts": 0, **fields})


def push(broker, count, queue="default", **more):
    broker.push([Parcel(queue, body(n, **more)) for n in range(1, count + 1)])


def claim(broker, limit=10, queues=("default", "low"), **more):
    return broker.claim("w", queues, limit, LEASE, **more)


def uuids(jobs):
    return [job.terms.label.split()[-1] for job in jobs]


def succeeded(job):
    return lifecycle.succeeded(job, Outcome(job.receipt, "done", 1.0, 2.0, result="null"))


def failed(job, broker, *, final=True):
    outcome = Outcome(job.receipt, "failed", 1.0, 2.0, error="E: no", traceback="at x", final=final)
    return lifecycle.failed(job, outcome, wait=5, now=broker.clock.now)


# ── claim ──


def test_a_claim_takes_all_of_the_first_queue_before_the_second(broker):
    push(broker, 2, "low")
    push(broker, 3)

    jobs = claim(broker, 4)

    assert [job.queue for job in jobs] == ["default"] * 3 + ["low"]
    assert [job.attempt for job in jobs] == [1] * 4
    assert broker.in_hand == 4
    assert broker._observer.taken_jobs == ["u1", "u2", "u3", "u1"]
    assert len({job.receipt for job in jobs}) == 4


def test_what_a_failed_claim_has_reserved_is_not_lost(broker):
    push(broker, 2)
    pop = broker.driver._behind.pop

    def fails_at_low(queue, *rest):
        if queue == "low":
            raise BrokerUnavailable("gone")
        return pop(queue, *rest)

    broker.driver._behind.pop = fails_at_low
    with pytest.raises(BrokerUnavailable):
        claim(broker)
    broker.driver._behind.pop = pop
    push(broker, 1, "low")

    jobs = claim(broker, 1)

    assert uuids(jobs) == ["u1"]  # no more than are wanted now
    assert uuids(claim(broker)) == ["u2", "u1"]
    assert [job.attempt for job in jobs] == [1]
    assert broker.in_hand == 3


def test_a_claim_fails_whole_when_counted_exceptions_cannot_be_read(broker):
    push(broker, 1, maxExceptions=2)
    broker.site.cache.broken["get"] = BrokerUnavailable("cache gone")
    for _ in range(2):
        with pytest.raises(BrokerUnavailable):
            claim(broker)
    broker.site.cache.broken.clear()

    [job] = claim(broker)

    assert (job.attempt, job.terms.max_exceptions) == (1, 2)


def test_a_leftover_that_somebody_else_has_by_now_is_dropped(broker, redis_client):
    push(broker, 2, maxExceptions=2)
    broker.site.cache.broken["get"] = BrokerUnavailable("cache gone")
    with pytest.raises(BrokerUnavailable):
        claim(broker)
    broker.site.cache.broken.clear()
    first, _ = redis_client.zrange(f"{DEFAULT}:reserved", 0, -1)
    redis_client.zrem(f"{DEFAULT}:reserved", first)

    assert uuids(claim(broker)) == ["u2"]


def test_a_leftover_is_given_back_at_the_end(broker, redis_client):
    push(broker, 2, maxExceptions=2)
    broker.site.cache.broken["get"] = BrokerUnavailable("cache gone")
    with pytest.raises(BrokerUnavailable):
        claim(broker)

    broker.close()

    broker.site.cache.broken.clear()
    assert uuids(claim(broker)) == ["u1", "u2"]


def test_a_leftover_that_cannot_be_given_back_is_said(broker, caplog):
    push(broker, 1, maxExceptions=2)
    broker.site.cache.broken["get"] = BrokerUnavailable("cache gone")
    with pytest.raises(BrokerUnavailable):
        claim(broker)
    broker.driver.broken["settle"] = BrokerUnavailable("queue gone")

    broker.close()

    assert "1 job(s) could not be given back: queue gone" in caplog.text


def test_counted_exceptions_are_shared_with_php(broker, laravel):
    laravel.ask.push("Fragile")
    laravel.work("once")
    broker.clock.now += 1

    [job] = claim(broker)

    assert (job.attempt, job.terms.exceptions, job.terms.max_exceptions) == (2, 1, 2)
    change = failed(job, broker, final=False)
    assert change.status == "failed"
    broker.finish([change])
    assert laravel.ask.cached(f"job-exceptions:{uuids([job])[0]}") is None


def test_a_failed_run_is_counted_for_php(broker, laravel, redis_client):
    push(broker, 1, maxExceptions=5)
    [job] = claim(broker)

    broker.finish([failed(job, broker, final=False)])

    assert int(laravel.ask.cached("job-exceptions:u1")) == 1
    assert 86000 < redis_client.ttl(f"{CACHE}job-exceptions:u1") <= 86400


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"backoff": "soon"}, "no number of seconds"),
        ({"data": {"commandName": payload.CLOSURE, "command": 'O:1:"X":0:{}'}}, "closure"),
        ({"data": {"commandName": "X", "command": "bm9wZQ=="}}, "UnreadablePayload"),
    ],
)
def test_a_payload_that_cannot_be_read_says_so_by_its_terms(broker, fields, why, tables):
    push(broker, 1, **fields)
    broker.push([Parcel("default", '{"attempts":0}')])

    first, second = claim(broker)

    assert why in first.terms.fault
    assert "names no job" in second.terms.fault
    assert second.name == "(unreadable)"
    for job in (first, second):
        broker.finish([lifecycle.unfit(job, broker.clock.now)])
    assert [row[0] for row in tables("failed_jobs", "queue")] == ["default", "default"]
    assert broker.count() == []


def test_how_often_a_job_may_be_tried(made, redis_client):
    def retries(tries=None, **fields):
        broker = made(tries=tries)
        push(broker, 1, **fields)
        [job] = claim(broker)
        broker.finish([succeeded(job)])
        return job.max_retries

    assert retries(maxTries=5) == 4
    assert retries(maxTries=0) == 2**31 - 1
    assert retries() == 2  # the task's own
    assert retries(tries=7) == 6
    assert retries(tries=7, maxTries=1) == 0
    assert retries(name="App\\Jobs\\Nobody") == 0


def test_a_chain_that_goes_on_elsewhere_does_not_begin_here(broker):
    following = dumps(PhpObject("App\\Jobs\\Step", {"connection": "sqs"})).decode()
    push(broker, 1, properties={"chained": {0: following}})

    [job] = claim(broker)

    assert "goes on on connection 'sqs', and this worker serves 'redis' alone" in job.terms.fault


# ── beat ──


def test_a_heartbeat_keeps_what_is_still_ours(broker, redis_client):
    push(broker, 3)
    jobs = claim(broker)
    broker.finish([succeeded(jobs[0])])
    redis_client.zremrangebyrank(f"{DEFAULT}:reserved", 0, 0)
    broker.clock.now += 60

    verdict = broker.beat(NOBODY, [job.receipt for job in jobs], LEASE)

    assert list(verdict.lost) == [jobs[1].receipt]
    [(_, until)] = redis_client.zrange(f"{DEFAULT}:reserved", 0, -1, withscores=True)
    assert until == math.ceil(broker.clock.now) + LEASE
    assert broker.cancellations("w") == []


def test_a_lost_job_that_the_worker_drops_is_forgotten(broker, redis_client):
    push(broker, 2)
    jobs = claim(broker)
    redis_client.zremrangebyrank(f"{DEFAULT}:reserved", 0, 0)
    broker.beat(NOBODY, [job.receipt for job in jobs], LEASE)

    assert list(broker.beat(NOBODY, [jobs[1].receipt], LEASE).lost) == []
    assert broker.in_hand == 1


def test_without_retry_after_nothing_needs_a_heartbeat(made):
    broker = made(retry_after=None)
    push(broker, 1)
    [job] = claim(broker)

    assert broker.beat(NOBODY, [job.receipt], LEASE) == ((), ())
    assert "renew" not in broker.driver.calls
    assert broker.finish([succeeded(job)]) == {job.id}


# ── finish ──


def test_a_job_that_is_done_is_deleted_once(broker):
    push(broker, 1)
    [job] = claim(broker)
    change = succeeded(job)

    assert broker.finish([change]) == {job.id}
    assert broker.finish([change]) == set()
    assert broker._observer.settled_jobs == [("u1", "done")]
    assert broker.in_hand == 0
    assert broker.count() == []


def test_who_is_late_is_refused(broker, redis_client):
    push(broker, 1)
    [job] = claim(broker)
    broker.clock.now += LEASE
    [again] = claim(broker)

    assert broker.finish([succeeded(job)]) == set()
    assert broker.finish([succeeded(again)]) == {again.id}
    assert again.attempt == 2
    assert broker._observer.settled_jobs == [("u1", "done")]


def test_a_loss_that_a_heartbeat_has_told_is_a_loss(broker, redis_client):
    push(broker, 1)
    [job] = claim(broker)
    redis_client.delete(f"{DEFAULT}:reserved")
    broker.beat(NOBODY, [job.receipt], LEASE)

    assert broker.finish([succeeded(job)]) == set()


def test_what_was_settled_without_an_answer_counts_as_settled(broker):
    push(broker, 2)
    jobs = claim(broker)
    changes = [succeeded(jobs[0]), failed(jobs[1], broker, final=False)]
    broker.driver.deaf["settle"] = BrokerUnavailable("no answer")
    with pytest.raises(BrokerUnavailable):
        broker.finish(changes)

    assert broker.finish(changes) == {job.id for job in jobs}
    assert broker._observer.settled_jobs == [("u1", "done"), ("u2", "pending")]
    assert broker.count() == [("default", "pending", 1)]


def test_a_finish_that_failed_half_way_applies_nothing_twice(broker, redis_client):
    push(broker, 1, properties={"chained": {0: dumps(PhpObject("App\\Jobs\\Step", {})).decode()}})
    push(broker, 1, "low")
    changes = [succeeded(job) for job in claim(broker)]
    settle = broker.driver._behind.settle

    def fails_at_low(settlements):
        if settlements[0].delivery.queue == "low":
            raise BrokerUnavailable("gone")
        return settle(settlements)

    broker.driver._behind.settle = fails_at_low
    with pytest.raises(BrokerUnavailable):
        broker.finish(changes)
    broker.driver._behind.settle = settle

    assert broker.finish(changes) == {change.id for change in changes}
    assert broker._observer.settled_jobs == [("u1", "done"), ("u1", "done")]
    assert redis_client.llen(DEFAULT) == 1  # the next of the chain, once
    assert broker.in_hand == 0


def test_what_ends_and_what_begins_share_a_round_trip(broker):
    push(broker, 3)
    first = claim(broker, 1, ["default"])
    broker.listen(["default"]).close()

    assert broker.finish([succeeded(first[0])], 2) == {first[0].id}
    broker.driver.calls.clear()
    jobs = claim(broker, 2, ["default"])

    assert uuids(jobs) == ["u2", "u3"]
    assert broker.finish([succeeded(job) for job in jobs], 1) == {job.id for job in jobs}
    assert claim(broker, 1, ["default"]) == []


def test_a_claim_that_fails_behind_a_settlement_undoes_nothing(broker, redis_client):
    push(broker, 2)
    claim(broker, 1, ["default"])
    broker.finish([], 1)
    [job] = claim(broker, 1, ["default"])
    broker.listen(["default"]).close()
    redis_client.set(f"{DEFAULT}:dead", "no list")
    redis_client.rpush(DEFAULT, "poison")

    with pytest.raises(BrokerError, match="WRONGTYPE"):
        broker.finish([succeeded(job)], 1)
    redis_client.delete(f"{DEFAULT}:dead")

    assert broker.finish([succeeded(job)], 1) == {job.id}
    assert broker._observer.settled_jobs == [("u2", "done")]
    assert claim(broker, 1, ["default"]) == []


def test_a_job_that_never_began_goes_back_as_it_was(broker, redis_client):
    push(broker, 3)
    jobs = claim(broker, 2)

    broker.finish([lifecycle.released(job) for job in jobs])

    assert [json.loads(text)["uuid"] for text in redis_client.lrange(DEFAULT, 0, -1)] == [
        "u1", "u2", "u3",
    ]  # fmt: skip
    assert claim(broker, 1)[0].attempt == 1


def test_a_job_that_runs_again_waits_for_its_time(broker, redis_client):
    push(broker, 1)
    [job] = claim(broker)

    broker.finish([failed(job, broker, final=False)])

    [(_, due)] = redis_client.zrange(f"{DEFAULT}:delayed", 0, -1, withscores=True)
    assert broker.clock.now + 5 <= due < broker.clock.now + 6.001
    assert claim(broker) == []
    assert broker.due_in(["default", "unknown"]) == due - broker.clock.now
    broker.clock.now += 10
    assert broker.due_in(["default"]) == 0.0
    assert claim(broker)[0].attempt == 2


def test_a_job_that_failed_is_on_record_as_php_has_it(broker, laravel, tables):
    laravel.ask.push("Plain")
    [job] = claim(broker)

    broker.finish([failed(job, broker)])

    [(uuid, connection, queue, exception)] = tables(
        "failed_jobs", "uuid, connection, queue, exception"
    )
    assert (connection, queue, exception) == ("redis", "default", "E: no\n\nat x")
    assert "has been pushed back" in laravel.artisan("queue:retry", uuid)
    assert uuids(claim(broker)) == [uuid]


def test_a_job_without_a_reason_says_so(broker, tables):
    push(broker, 1)
    [job] = claim(broker)

    broker.finish([failed(job, broker)._replace(error=None, record=None)])

    assert tables("failed_jobs", "exception") == [("no reason is on record",)]


def test_a_ledger_that_is_down_leaves_a_dead_letter(broker, tables, caplog, redis_client):
    push(broker, 1)
    [job] = claim(broker)
    broker.site.ledger.broken["failed"] = BrokerUnavailable("tables gone")

    assert broker.finish([failed(job, broker)]) == {job.id}

    [letter] = map(json.loads, broker.driver.dead("default", 5))
    assert letter == {
        "payload": body(1),
        "error": "E: no\n\nat x",
        "failed_at": int(broker.clock.now),
        "queue": "default",
        "attempts": 1,
    }
    assert "failed_jobs cannot be written, keeping a dead letter: tables gone" in caplog.text
    assert broker.count() == []


def test_who_has_lost_a_job_puts_nothing_on_record(broker, tables, redis_client):
    push(broker, 1)
    [job] = claim(broker)
    redis_client.delete(f"{DEFAULT}:reserved")
    broker.clock.now += LEASE

    assert broker.finish([failed(job, broker)]) == set()
    assert tables("failed_jobs") == []
    assert broker.driver.dead("default", 5) == []


def test_without_a_ledger_failures_are_dead_letters(made):
    broker = made(ledger=None, cache=None)
    push(broker, 1, properties={"batchId": "b"})
    [job] = claim(broker)

    broker.finish([failed(job, broker)])

    assert len(broker.driver.dead("default", 5)) == 1


# ── chains ──


def test_a_chain_goes_on_where_laravel_has_it(broker, laravel):
    laravel.dispatch("chain", CHAIN_QUEUE="low")
    [first] = claim(broker)
    broker.finish([succeeded(first)])
    [second] = claim(broker)
    broker.finish([succeeded(second)])

    events = laravel.work("stop-when-empty", "default,low")

    [handled] = [each for each in events if each["event"] == "handled"]
    assert handled["got"] == {"+n": 3}
    assert second.queue == "low"


def test_the_next_job_waits_for_its_own_delay(broker, redis_client):
    following = PhpObject("App\\Jobs\\Step", {"delay": 60, "n": 2, "tries": 4})
    push(broker, 1, properties={"chained": {0: dumps(following).decode()}})
    [job] = claim(broker)

    broker.finish([succeeded(job)])

    [(text, due)] = redis_client.zrange(f"{DEFAULT}:delayed", 0, -1, withscores=True)
    assert broker.clock.now + 60 <= due < broker.clock.now + 61.001
    told = json.loads(text)
    assert (told["delay"], told["maxTries"], told["attempts"]) == (60, 4, 0)
    assert told["uuid"] != "u1"


def test_the_next_job_of_an_encrypted_one_is_encrypted(broker, redis_client):
    following = dumps(PhpObject("App\\Jobs\\Secret", {"card": "4242"})).decode()
    head = PhpObject("App\\Jobs\\Secret", {"chained": {0: following}})
    fields = payload.of_command(head, uuid="u1", now=1.0, encrypter=broker.site.encrypter)
    broker.push([broker.parcel("default", fields)])
    [job] = claim(broker)

    broker.finish([succeeded(job)])

    [text] = redis_client.lrange(DEFAULT, 0, -1)
    found = payload.read(text)
    assert payload.is_encrypted(found)
    assert payload.data_of(found, broker.site.encrypter) == {"card": "4242"}


def test_a_chain_ends_with_a_failure(broker, redis_client):
    following = dumps(PhpObject("App\\Jobs\\Step", {})).decode()
    push(broker, 1, properties={"chained": {0: following}})
    [job] = claim(broker)

    broker.finish([failed(job, broker)])

    assert redis_client.llen(DEFAULT) == 0


# ── what is owed afterwards ──


def test_a_batch_is_counted_as_laravel_does(broker, laravel, caplog):
    caplog.set_level(logging.INFO)
    batch = laravel.dispatch("batch", "InBatch", "InBatch")["batch"]
    first, second = claim(broker)

    broker.finish([succeeded(first)])
    assert laravel.ask.batch(batch)["pendingJobs"] == 1
    broker.finish([succeeded(second)])

    told = laravel.ask.batch(batch)
    assert (told["pendingJobs"], told["failedJobs"]) == (0, 0)
    assert told["finishedAt"] is not None
    assert f"batch {batch} is finished" in caplog.text


def test_a_failure_cancels_its_batch(broker, laravel):
    batch = laravel.dispatch("batch", "InBatch", "InBatch")["batch"]
    first, _ = claim(broker)

    broker.finish([failed(first, broker)])

    told = laravel.ask.batch(batch)
    assert (told["pendingJobs"], told["failedJobs"]) == (2, 1)
    assert told["cancelledAt"] is not None


def test_what_is_owed_waits_for_a_store_and_is_done_later(broker, laravel, caplog):
    batch = laravel.dispatch("batch", "InBatch")["batch"]
    laravel.ask.push("Plain")
    first, second = claim(broker)
    broker.site.ledger.broken["batch_succeeded"] = BrokerUnavailable("tables gone")

    assert broker.finish([succeeded(first)]) == {first.id}
    assert broker.finish([succeeded(second)]) == {second.id}
    broker.dismissed("w")
    assert laravel.ask.batch(batch)["pendingJobs"] == 1
    broker.site.ledger.broken.clear()
    broker.dismissed("w")

    assert laravel.ask.batch(batch)["pendingJobs"] == 0
    assert [record.getMessage() for record in caplog.records] == [  # said once
        "what follows from jobs that have ended must wait: tables gone"
    ]


def test_a_store_that_refuses_holds_up_nobody_elses_steps(broker, laravel):
    laravel.dispatch("batch", "InBatch")
    laravel.dispatch("job", "Unique", 7)
    unique_by("App\\Jobs\\Unique", lambda data: f"u{data['id']}")
    jobs = claim(broker)
    broker.site.ledger.broken["batch_succeeded"] = BrokerError("no such table: job_batches")

    broker.finish([succeeded(job) for job in jobs])

    assert not laravel.ask.locked("laravel_unique_job:App\\Jobs\\Uniqueu7")


def test_what_is_left_undone_at_the_end_is_said(broker, laravel, caplog):
    laravel.dispatch("batch", "InBatch")
    [job] = claim(broker)
    broker.site.ledger.broken["batch_succeeded"] = BrokerUnavailable("tables gone")
    broker.finish([succeeded(job)])

    broker.close()

    assert "1 step(s) that follow from ended jobs are left undone" in caplog.text


@pytest.mark.parametrize("end", [succeeded, None])
def test_the_lock_of_a_unique_job_is_released_when_it_has_ended(broker, laravel, end):
    unique_by("App\\Jobs\\Unique", lambda data: f"u{data['id']}")
    laravel.dispatch("job", "Unique", 7)
    laravel.dispatch("job", "Unique", 7)
    [job] = claim(broker)
    assert laravel.ask.locked("laravel_unique_job:App\\Jobs\\Uniqueu7")

    broker.finish([end(job) if end else failed(job, broker)])

    assert not laravel.ask.locked("laravel_unique_job:App\\Jobs\\Uniqueu7")


def test_the_lock_stays_while_the_job_is_to_run_again(broker, laravel):
    unique_by("App\\Jobs\\Unique", lambda data: f"u{data['id']}")
    laravel.dispatch("job", "Unique", 7)
    [job] = claim(broker)

    broker.finish([failed(job, broker, final=False)])

    assert laravel.ask.locked("laravel_unique_job:App\\Jobs\\Uniqueu7")


def test_an_id_that_is_a_property_releases_the_lock_of_its_owner(made):
    broker = made(laravel=13)
    key = "laravel_unique_job:App\\Jobs\\Step:k1"
    assert broker.locked(key, "owner", 60)
    assert not broker.locked(key, "other", 60)
    push(
        broker, 1, name="App\\Jobs\\Step", properties={"uniqueId": "k1", "uniqueLockOwner": "other"}
    )
    [job] = claim(broker)
    broker.finish([succeeded(job)])
    assert not broker.locked(key, "x", 60)  # somebody else's

    push(
        broker, 1, name="App\\Jobs\\Step", properties={"uniqueId": "k1", "uniqueLockOwner": "owner"}
    )
    [job] = claim(broker)
    broker.finish([succeeded(job)])

    assert broker.locked(key, "x", 60)


def test_a_function_for_ids_that_fails_stops_nothing(broker, laravel, caplog):
    unique_by("App\\Jobs\\Unique", lambda data: data["missing"])
    laravel.dispatch("job", "Unique", 7)
    [job] = claim(broker)

    assert broker.finish([succeeded(job)]) == {job.id}
    assert "unique_id of App\\Jobs\\Unique failed, the lock of the job stays" in caplog.text


def test_without_a_cache_there_are_no_locks(made):
    broker = made(cache=None)
    push(broker, 1, properties={"uniqueId": "k"}, maxExceptions=2)
    [job] = claim(broker)

    assert broker.finish([succeeded(job)]) == {job.id}
    assert broker.dismissed("w") is None
    for act in (lambda: broker.pause("default"), lambda: broker.locked("k", "o", 5)):
        with pytest.raises(BrokerError, match="knows no cache of Laravel's"):
            act()


# ── signals and questions ──


def test_queue_restart_dismisses_a_worker_that_has_begun_before(broker, laravel):
    listener = broker.listen(["default"])
    assert broker.dismissed("w") is None

    laravel.artisan("queue:restart")

    assert broker.dismissed("w") == "told to stop by queue:restart"
    listener.close()
    later = broker.listen(["default"])
    assert broker.dismissed("w") is None
    later.close()


def test_a_paused_queue_gives_nothing(broker):
    push(broker, 1)
    push(broker, 1, "low")
    broker.pause("default")
    broker.dismissed("w")

    assert [job.queue for job in claim(broker)] == ["low"]
    assert broker.paused() == {"default": ""}
    broker.resume("default")
    assert broker.paused() == {}
    assert [job.queue for job in claim(broker)] == ["default"]


def test_queues_are_counted_and_cleared(broker):
    push(broker, 3)
    push(broker, 1, "low")
    claim(broker, 1)

    assert broker.count() == [
        ("default", "pending", 2), ("default", "running", 1), ("low", "pending", 1),
    ]  # fmt: skip
    assert broker.purge(Filter(queue="default")) == 3
    assert broker.count() == [("low", "pending", 1)]


def test_there_are_no_records_to_ask_for(broker):
    for act in (
        lambda: broker.get(1),
        lambda: broker.attempts(1),
        lambda: broker.find(Filter(), 5),
        lambda: broker.cancel(Filter(ids=(1,))),
        lambda: broker.revive(Filter()),
    ):
        with pytest.raises(BrokerError, match="Laravel keeps no record of a job"):
            act()
    with pytest.raises(BrokerError, match="only whole queues"):
        broker.purge(Filter())
    assert (broker.workers(), broker.held("w"), broker.oldest_due()) == ([], [], {})
    assert broker.prune(["done"], 1.0, 10) == 0
    broker.forget("w")


def test_jobs_are_enqueued_with_numbers_of_this_process(broker, redis_client):
    call = '{"args": [], "kwargs": {"name": "x"}}'

    ids = broker.enqueue(
        [
            NewJob("App\\Jobs\\Plain", call),
            NewJob("App\\Jobs\\Plain", call, due=broker.clock.now + 9.5),
        ]
    )

    assert len(set(ids)) == 2
    [(text, due)] = redis_client.zrange(f"{DEFAULT}:delayed", 0, -1, withscores=True)
    assert due >= broker.clock.now + 9.5
    assert json.loads(text)["delay"] == 10
    assert redis_client.llen(DEFAULT) == 1


# ── Horizon ──


@pytest.fixture
def horizon_broker(made):
    """A broker that tells Horizon."""
    broker = made(horizon=Horizon("laravel_horizon:", "redis"))
    listener = broker.listen(["default"])
    yield broker
    listener.close()


def told(client, uuid):
    """What Horizon knows of a job."""
    return client.hgetall(f"laravel_horizon:{uuid}")


def pushed(broker, number, due=None):
    fields = payload.made("App\\Jobs\\Plain", {}, uuid=f"u{number}", now=1.0)
    broker.push([broker.parcel("default", fields, due, ["tag"])])


def test_horizon_is_told_of_each_step(horizon_broker, redis_client):
    broker = horizon_broker
    for number in (1, 2, 3):
        pushed(broker, number, due=None if number < 3 else broker.clock.now - 1)
    assert told(redis_client, "u1")["status"] == "pending"
    assert json.loads(told(redis_client, "u1")["payload"])["tags"] == ["tag"]

    one, two, three = claim(broker, queues=["default"])
    assert [told(redis_client, f"u{n}")["status"] for n in (1, 2, 3)] == ["reserved"] * 3
    broker.finish([succeeded(one), failed(two, broker), failed(three, broker, final=False)])

    statuses = [told(redis_client, f"u{n}")["status"] for n in (1, 2, 3)]
    assert statuses == ["completed", "failed", "pending"]
    assert told(redis_client, "u2")["exception"] == "E: no\n\nat x"


def test_horizon_sees_the_worker_and_orders_it_about(horizon_broker, redis_client, caplog):
    broker = horizon_broker

    def order(**command):
        [name] = redis_client.zrange("laravel_horizon:supervisors", 0, -1)
        redis_client.rpush(f"laravel_horizon:commands:{name}", json.dumps(command))
        broker._reporter._present_again = 0.0
        return broker.dismissed("w")

    broker.beat(NOBODY._replace(concurrency=3), [], LEASE)
    assert broker.dismissed("w") is None
    [master] = redis_client.zrange("laravel_horizon:masters", 0, -1)
    assert redis_client.hget(f"laravel_horizon:master:{master}", "status") == "running"
    [supervisor] = redis_client.zrange("laravel_horizon:supervisors", 0, -1)
    processes = redis_client.hget(f"laravel_horizon:supervisor:{supervisor}", "processes")
    assert json.loads(processes) == {"redis:default": 3}
    push(broker, 1)

    assert order(command="Laravel\\Horizon\\SupervisorCommands\\Pause") is None
    assert claim(broker) == []
    assert redis_client.hget(f"laravel_horizon:supervisor:{supervisor}", "status") == "paused"
    assert order(command="Laravel\\Horizon\\SupervisorCommands\\ContinueWorking") is None
    assert len(claim(broker)) == 1
    order(command="Laravel\\Horizon\\SupervisorCommands\\Scale", options={"scale": 5})
    assert "means nothing to a worker" in caplog.text
    why = order(command="Laravel\\Horizon\\SupervisorCommands\\Terminate")
    assert why == "Horizon told it to terminate"
    broker.forget("w")
    assert redis_client.zrange("laravel_horizon:masters", 0, -1) == []


def test_a_horizon_that_cannot_be_told_stops_no_job(horizon_broker, caplog, redis_client):
    broker = horizon_broker
    client = broker._reporter._client = Part(broker._reporter._client)
    client.broken["send_all"] = BrokerUnavailable("gone")
    pushed(broker, 1)
    broker.push([Parcel("default", "no json"), Parcel("default", '{"attempts":0}')])

    jobs = claim(broker)
    broker.dismissed("w")

    assert uuids(jobs[:1]) == ["u1"]
    assert broker.finish([succeeded(jobs[0])]) == {jobs[0].id}
    assert caplog.text.count("Horizon cannot be told, jobs go on without it: gone") == 1


def test_the_next_of_a_chain_has_the_tags_of_its_models(horizon_broker, redis_client):
    model = PhpObject(
        "Illuminate\\Contracts\\Database\\ModelIdentifier",
        {"class": "App\\User", "id": 5, "relations": {}, "connection": None},
    )
    following = dumps(PhpObject("App\\Jobs\\Step", {"user": model})).decode()
    push(horizon_broker, 1, properties={"chained": {0: following}})
    [job] = claim(horizon_broker)

    horizon_broker.finish([succeeded(job)])

    [text] = redis_client.lrange(DEFAULT, 0, -1)
    assert json.loads(text)["tags"] == ["App\\User:5"]


# ── which task runs a job ──


def routed(envelope_text):
    return TaskRouter(None).route(payload.read(envelope_text), envelope_text)


def test_a_task_gets_the_properties_that_it_names(made):
    got = []
    task(name="App\\Jobs\\Dated", max_retries=7)(lambda **properties: got.append(properties))
    properties = {
        "when": plain.carbon(datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)),
        "raw": "text",
        "length": PhpObject(
            "DateInterval",
            {
                "f": 0.0,
                "days": False,
                "i": 5,
                **dict.fromkeys(["y", "m", "d", "h", "s", "invert"], 0),
            },
        ),
    }

    route = routed(body(1, "App\\Jobs\\Dated", properties))

    assert (route.name, route.max_retries) == ("App\\Jobs\\Dated", 7)
    assert json.loads(route.payload) == {
        "args": [],
        "kwargs": {"when": "2026-01-02T03:04:05+00:00", "raw": "text", "length": 300.0},
    }


@pytest.mark.parametrize(
    ("data", "args"), [([1, "a"], [1, "a"]), ("text", ["text"]), (None, [None]), (5, [5])]
)
def test_free_data_of_a_string_job_become_arguments(made, data, args):
    task(name="App\\Report@build")(lambda *args: None)

    route = routed(json.dumps({"job": "App\\Report@build", "data": data}))

    assert json.loads(route.payload) == {"args": args, "kwargs": {}}


@pytest.mark.parametrize("name", ["App\\Report", "Pretty"])
def test_a_task_may_have_any_name_that_the_job_goes_by(made, name):
    task(name=name)(lambda **properties: None)

    route = routed('{"job": "App\\\\Report@build", "displayName": "Pretty", "data": {"a": 1}}')

    assert route.name == name
    assert json.loads(route.payload)["kwargs"] == {"a": 1}


def test_values_that_json_lacks_reach_the_task_as_text(made):
    found = {"b": b"\xff", "d": Decimal("1.5"), "u": UUID(int=5), "t": dtime(1, 2)}

    assert [_plain(each) for each in found.values()] == [
        "/w==", "1.5", "00000000-0000-0000-0000-000000000005", "01:02:00",
    ]  # fmt: skip
    with pytest.raises(TypeError):
        _plain(object())


def test_data_that_are_no_json_are_refused(made):
    task(name="App\\Jobs\\Odd")(lambda **properties: None)

    with pytest.raises(UnreadablePayload, match=r"the data of App.*Odd is no JSON"):
        routed(body(1, "App\\Jobs\\Odd", {"x": float("inf")}))


def test_a_job_that_no_task_runs_fails_and_says_what_there_is(broker, tables):
    push(broker, 1, name="App\\Jobs\\Nobody")

    [job] = claim(broker)

    assert (job.name, job.payload, job.terms.fault) == ("App\\Jobs\\Nobody", "{}", None)
