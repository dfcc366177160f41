"""Laravel's redis driver on a real Redis, beside Laravel's own."""

import asyncio
import contextlib
import json
import logging
import select
import threading
import time

import pytest
import redis

import servers
from lara_queue import AsyncQueue
from liteq.brokers.laravel import client as clients
from liteq.brokers.laravel.base import Counts, Delivery, Look, Parcel, Popped, Settlement
from liteq.brokers.laravel.client import Awaiting, Blocking, Bridged, blocking_seconds
from liteq.brokers.laravel.redis import Keys, RedisCache, RedisDriver
from liteq.errors import BrokerError, BrokerFull, BrokerReadOnly, BrokerUnavailable

NOW = 1_800_000_000
LEASE = 90
UNTIL = NOW + LEASE
P = "laravel_database_queues:"
DEFAULT = f"{P}default"
CACHE = "laravel_database_laravel_cache_:"


@pytest.fixture
def driver(redis_client):
    return RedisDriver(Blocking(redis_client), Keys())


def body(number=1, **fields):
    """A payload as Laravel's json_encode writes it."""
    made = {"uuid": f"u{number}", "job": "App\\Jobs\\X", "data": [], "id": "i", "attempts": 0}
    return json.dumps({**made, **fields}, separators=(",", ":")).replace("/", "\\/")


def parcels(count, queue="default", **fields):
    return [Parcel(queue, body(number, **fields)) for number in range(1, count + 1)]


def uuids(found):
    """Which payloads these are; a Popped, or texts."""
    texts = [each.body for each in found.deliveries] if isinstance(found, Popped) else found
    return [json.loads(text)["uuid"] for text in texts]


def everything(client):
    """All that lies in Redis, but for our own note of the last claim."""
    found = {}
    for key in sorted(client.keys("*")):
        if ":claim:" in key:
            continue
        kind = client.type(key)
        if kind == "list":
            found[key] = client.lrange(key, 0, -1)
        elif kind == "zset":
            found[key] = client.zrange(key, 0, -1, withscores=True)
        else:
            found[key] = client.get(key)
    return found


def settlements(found, verb, **more):
    return [Settlement(delivery, verb, **more) for delivery in found.deliveries]


# ── pushing, as Laravel does it ──


def test_a_push_leaves_what_laravels_own_leaves(laravel, redis_client, driver):
    laravel.ask.push("Step", [1])
    laravel.ask.push("Step", [2])
    laravel.ask.push("Step", [3], "low")
    theirs = everything(redis_client)
    redis_client.flushall()

    driver.push(
        [Parcel("default", text) for text in theirs[DEFAULT]]
        + [Parcel("low", text) for text in theirs[f"{P}low"]]
    )

    assert everything(redis_client) == theirs
    assert theirs[f"{DEFAULT}:notify"] == ["1", "1"]


def test_a_delayed_push_leaves_what_laravels_own_leaves(laravel, redis_client, driver):
    laravel.ask.later(60, "Step", [1])
    theirs = everything(redis_client)
    redis_client.flushall()
    [(text, score)] = theirs[f"{DEFAULT}:delayed"]

    driver.push([Parcel("default", text, int(score))])

    assert everything(redis_client) == theirs
    assert list(theirs) == [f"{DEFAULT}:delayed"]


def test_a_bulk_leaves_what_laravels_own_leaves(laravel, redis_client, driver):
    laravel.dispatch("bulk", 30)
    theirs = everything(redis_client)
    redis_client.flushall()

    driver.push([Parcel("default", text) for text in theirs[DEFAULT]])

    assert everything(redis_client) == theirs
    assert len(theirs[f"{DEFAULT}:notify"]) == 30


def test_many_payloads_are_pushed_in_order(driver, redis_client):
    driver.push(parcels(2500))

    assert uuids(redis_client.lrange(DEFAULT, 0, -1)) == [f"u{n}" for n in range(1, 2501)]
    assert redis_client.llen(f"{DEFAULT}:notify") == 2500


def test_no_payload_is_no_push(driver, redis_client):
    driver.push([])

    assert everything(redis_client) == {}


# ── popping, as Laravel does it ──


def test_a_pop_leaves_what_laravels_own_leaves(laravel, redis_client, driver):
    laravel.ask.push("Options")
    [text] = redis_client.lrange(DEFAULT, 0, -1)
    theirs = laravel.ask.pop()
    [(reserved, score)] = redis_client.zrange(f"{DEFAULT}:reserved", 0, -1, withscores=True)
    rest = redis_client.keys("*")
    redis_client.flushall()
    driver.push([Parcel("default", text)])

    found = driver.pop("default", 1, NOW, NOW + LEASE)

    [delivery] = found.deliveries
    assert (delivery.queue, delivery.body, delivery.attempts) == ("default", text, 1)
    assert (theirs["body"], theirs["attempts"]) == (text, 1)
    assert json.loads(delivery.held) == json.loads(reserved) == json.loads(theirs["reserved"])
    assert abs(score - time.time() - LEASE) < 5
    assert everything(redis_client) == {f"{DEFAULT}:reserved": [(delivery.held, NOW + LEASE)]}
    assert rest == [f"{DEFAULT}:reserved"]


def test_what_we_have_released_is_popped_by_laravel(laravel, driver, redis_client):
    laravel.ask.push("Step", [1])
    now = int(time.time())
    found = driver.pop("default", 1, now, now + LEASE)
    driver.settle(settlements(found, "release", available_at=now))

    assert laravel.ask.pop()["attempts"] == 2
    assert list(everything(redis_client)) == [f"{DEFAULT}:reserved"]


def test_payloads_come_in_order_and_no_more_than_wanted(driver):
    driver.push(parcels(5))

    assert uuids(driver.pop("default", 2, NOW, UNTIL)) == ["u1", "u2"]
    assert uuids(driver.pop("default", 9, NOW, UNTIL)) == ["u3", "u4", "u5"]
    assert driver.pop("default", 9, NOW, UNTIL) == ([], UNTIL)
    assert driver.counts("default") == Counts(0, 0, 5)


def test_an_empty_queue_knows_no_next_moment(driver, redis_client):
    assert driver.pop("default", 5, NOW, UNTIL) == ([], None)
    assert redis_client.keys("*") == []


def test_what_is_due_moves_by_its_moment_then_by_its_bytes(driver, redis_client):
    driver.push(
        [
            Parcel("default", body(1), NOW + 1),
            Parcel("default", body(2), NOW - 5),
            Parcel("default", body(4), NOW - 10),
            Parcel("default", body(3), NOW - 10),
            Parcel("default", body(5)),
        ]
    )
    redis_client.zadd(f"{DEFAULT}:reserved", {body(6): NOW - 99, body(7): NOW + 50})

    found = driver.pop("default", 9, NOW, UNTIL)

    assert uuids(found) == ["u5", "u3", "u4", "u2", "u6"]  # delayed before reserved
    assert uuids([text for _, text in driver.migrated]) == ["u3", "u4", "u2", "u6"]
    assert {queue for queue, _ in driver.migrated} == {"default"}
    assert found.next_at == NOW + 1
    assert redis_client.llen(f"{DEFAULT}:notify") == 0


def test_more_than_a_thousand_move_in_turns(driver, redis_client):
    driver.push([Parcel("default", body(n), NOW - 2000 + n) for n in range(1500)])

    first = driver.pop("default", 1100, NOW, UNTIL)
    second = driver.pop("default", 1100, NOW, UNTIL)

    assert uuids(first) + uuids(second) == [f"u{n}" for n in range(1500)]
    assert redis_client.llen(f"{DEFAULT}:notify") == 0


def test_a_payload_whose_worker_is_gone_comes_again(driver):
    driver.push(parcels(1))
    [first] = driver.pop("default", 1, NOW, UNTIL).deliveries

    assert driver.pop("default", 1, UNTIL - 1, UNTIL).deliveries == []
    [again] = driver.pop("default", 1, UNTIL, UNTIL + LEASE).deliveries
    assert (again.attempts, again.body) == (2, first.held)
    assert driver.settle([Settlement(first, "delete")]) == [False]
    assert driver.settle([Settlement(again, "delete")]) == [True]


def test_without_retry_after_a_reservation_never_runs_out(driver, redis_client):
    driver.push(parcels(1))

    found = driver.pop("default", 1, NOW, None)

    assert uuids(found) == ["u1"]
    assert driver.pop("default", 1, 10 * NOW, None) == ([], None)
    [(_, score)] = redis_client.zrange(f"{DEFAULT}:reserved", 0, -1, withscores=True)
    assert score == float("inf")
    assert driver.settle(settlements(found, "delete")) == [True]


def test_without_retry_after_what_others_have_reserved_is_left_to_them(driver, redis_client):
    redis_client.zadd(f"{DEFAULT}:reserved", {body(1): NOW - 5})

    assert driver.pop("default", 1, NOW, None) == ([], None)


def test_queues_do_not_see_each_other(driver, redis_client):
    driver.push([*parcels(2, "high"), *parcels(3, "low"), *parcels(1, "high")])

    found = driver.pop("high", 9, NOW, UNTIL)

    assert uuids(found) == ["u1", "u2", "u1"]
    assert driver.counts("low") == Counts(3, 0, 0)
    assert redis_client.llen(f"{P}low:notify") == 3


def test_classes_that_are_not_wanted_stay(driver, redis_client):
    def of(name):
        return {"data": {"commandName": name}}

    driver.push(
        [
            Parcel("default", body(1, **of("A"))),
            Parcel("default", body(2, **of("B"))),
            Parcel("default", body(3, job="A@handle")),
            Parcel("default", body(4, job="A")),
            Parcel("default", body(5, displayName="A", **of("Wrapper"))),
            Parcel("default", body(6, data=None)),
            Parcel("default", "poison"),
            Parcel("default", body(7, **of("B"))),
        ]
    )

    found = driver.pop("default", 2, NOW, UNTIL, skip=["A", "Z"])

    assert uuids(found) == ["u2", "u6"]
    assert uuids(driver.pop("default", 2, NOW, UNTIL, skip=["A@handle"])) == ["u1", "u4"]
    assert uuids(driver.pop("default", 9, NOW, UNTIL, skip=["A", "Z"])) == ["u7"]
    assert redis_client.llen(f"{DEFAULT}:notify") == redis_client.llen(DEFAULT) == 2
    assert redis_client.llen(f"{DEFAULT}:dead") == 1


def test_only_the_first_thousand_are_looked_at_for_others(driver):
    driver.push([*parcels(1000), Parcel("default", body(5, job="Other"))])

    assert driver.pop("default", 1, NOW, UNTIL, skip=["App\\Jobs\\X"]).deliveries == []
    driver.pop("default", 1, NOW, UNTIL)
    assert uuids(driver.pop("default", 1, NOW, UNTIL, skip=["App\\Jobs\\X"])) == ["u5"]


# ── the count of attempts ──

UGLY = (
    '{"id":1234567890123456789,"f":3.141592653589793,"z":1.0,"tags":[],"s":"a\\/b","attempts":%s%s}'
)


@pytest.mark.parametrize(("before", "after"), [("0", "1"), ("9", "10"), ("254", "255")])
@pytest.mark.parametrize("rest", ["", ',"more":[]'])
def test_counting_leaves_the_rest_of_a_payload_as_it_is(driver, before, after, rest):
    driver.push([Parcel("default", UGLY % (before, rest))])

    [delivery] = driver.pop("default", 1, NOW, UNTIL).deliveries

    assert delivery.held == UGLY % (after, rest)
    assert delivery.attempts == int(after)


@pytest.mark.parametrize(
    "text",
    [
        '{"attempts": 0,"job":"x"}',
        '{"attempts":0 ,"job":"x"}',
        '{"attempts":0.0,"job":"x"}',
        '{"job":"x","data":{"attempts":0},"attempts":0}',
        '{"job":"x","data":"\\"attempts\\":0,","attempts":0}',
        '{"job":"x","\\u0061ttempts":0}',
        '{"attempts":7,"job":"x","attempts":0}',
        '{"attempts":0,"job":"x","\\u0061ttempts":0}',
    ],
)
def test_attempts_that_are_written_oddly_are_counted_all_the_same(driver, text):
    driver.push([Parcel("default", text)])

    [delivery] = driver.pop("default", 1, NOW, UNTIL).deliveries

    assert delivery.body == text
    assert delivery.attempts == 1
    assert json.loads(delivery.held)["attempts"] == 1
    held, given = json.loads(delivery.held), json.loads(text)
    assert {**held, "attempts": 0} == {**given, "attempts": 0}


# ── payloads that Laravel's own script would lose ──

POISON = [
    ("no json", "is not JSON"),
    ("", "is not JSON"),
    ("[" * 1200 + "]" * 1200, "is not JSON"),
    ("5", "is not a JSON object"),
    ("null", "is not a JSON object"),
    ('"text"', "is not a JSON object"),
    ("[1,2]", "has no number of attempts"),
    ("{}", "has no number of attempts"),
    ('{"attempts":"0"}', "has no number of attempts"),
    ('{"attempts":null}', "has no number of attempts"),
    ('{"attempts":nan}', "has no number of attempts"),
    ('{"attempts":1e999}', "has no number of attempts"),
    ('{"attempts": 0,"x":nan}', "cannot be counted"),
]


@pytest.mark.parametrize(("text", "why"), POISON)
def test_a_payload_that_cannot_be_reserved_is_set_aside(driver, redis_client, caplog, text, why):
    driver.push([Parcel("default", text), *parcels(1)])

    found = driver.pop("default", 5, NOW, UNTIL)

    assert uuids(found) == ["u1"]
    [letter] = map(json.loads, driver.dead("default", 10))
    assert (letter["payload"], letter["failed_at"]) == (text, NOW)
    assert letter["error"].startswith(f"the payload {why}")
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert why in record.getMessage()
    assert f"kept in {DEFAULT}:dead" in record.getMessage()
    assert redis_client.llen(f"{DEFAULT}:notify") == 0
    assert driver.counts("default") == Counts(0, 0, 1)


@pytest.mark.parametrize("text", ["no json", '{"job":"x"}'])
def test_laravels_own_script_would_lose_it(laravel, redis_client, text):
    redis_client.rpush(DEFAULT, text)

    assert laravel.ask.pop() is None
    assert redis_client.keys("*") == []


def test_bytes_that_are_no_utf8_stay_what_they_are(redis_server):
    with redis_server.client(decode_responses=False) as raw:
        driver = RedisDriver(Blocking(raw), Keys())
        text = b'{"job":"x","bad":"\xff\xfe","attempts":0}'
        raw.rpush(DEFAULT, text, b"\xff not JSON")

        found = driver.pop("default", 5, NOW, UNTIL)

        [delivery] = found.deliveries
        assert clients.wire_bytes(delivery.body) == text
        [held] = raw.zrange(f"{DEFAULT}:reserved", 0, -1)
        assert held == text.replace(b":0}", b":1}") == clients.wire_bytes(delivery.held)
        [letter] = driver.dead("default", 5)
        assert clients.wire_bytes(json.loads(letter)["payload"]) == b"\xff not JSON"
        assert driver.exhume("default", letter, None)
        driver.bury("default", letter)
        assert driver.dead("default", 5) == [letter]
        assert driver.settle([Settlement(delivery, "return")]) == [True]
        assert raw.lrange(DEFAULT, 0, -1) == [text]


# ── an answer that never came ──


class Deaf:
    """A client that does as it is told, and then does not hear the answers to scripts."""

    def __init__(self, client):
        self._client = client
        self.deaf = True

    def run(self, *what):
        answer = self._client.run(*what)
        if self.deaf:
            raise BrokerUnavailable("the answer was lost")
        return answer

    def __getattr__(self, name):
        return getattr(self._client, name)


@pytest.fixture
def deaf(redis_client):
    driver = RedisDriver(Deaf(Blocking(redis_client)), Keys())
    driver.push = RedisDriver(Blocking(redis_client), Keys()).push
    return driver


def test_a_claim_that_was_not_heard_of_comes_again_as_it_was(deaf, redis_client):
    deaf.push(parcels(4))
    with pytest.raises(BrokerUnavailable):
        deaf.pop("default", 3, NOW, UNTIL)
    deaf.client.deaf = False

    found = deaf.pop("default", 3, NOW, UNTIL)

    assert uuids(found) == ["u1", "u2", "u3"]
    assert [each.attempts for each in found.deliveries] == [1, 1, 1]
    assert deaf.counts("default") == Counts(1, 0, 3)
    assert redis_client.llen(f"{DEFAULT}:notify") == 1


def test_a_claim_that_was_heard_of_stays(deaf):
    deaf.push(parcels(2))
    deaf.client.deaf = False
    deaf.pop("default", 1, NOW, UNTIL)

    deaf.pop("default", 1, NOW, UNTIL)

    assert deaf.counts("default") == Counts(0, 0, 2)


def test_of_a_lost_claim_only_what_nobody_took_meanwhile_comes_again(deaf, driver):
    deaf.push(parcels(2))
    with pytest.raises(BrokerUnavailable):
        deaf.pop("default", 2, NOW, UNTIL)
    deaf.client.deaf = False
    [other] = driver.pop("default", 1, UNTIL, UNTIL + LEASE).deliveries  # one of them: both expired

    found = deaf.pop("default", 5, UNTIL, UNTIL + LEASE)

    assert [each.attempts for each in found.deliveries] == [2]
    assert {other.body, *(each.body for each in found.deliveries)} == {
        body(1, attempts=1),
        body(2, attempts=1),
    }
    assert driver.settle([Settlement(other, "delete")]) == [True]


# ── what becomes of reservations ──


def test_a_reservation_is_renewed_while_it_is_ours(driver, redis_client):
    driver.push(parcels(3))
    driver.push(parcels(1, "low"))
    held = driver.pop("default", 3, NOW, UNTIL).deliveries
    low = driver.pop("low", 1, NOW, UNTIL).deliveries
    driver.settle([Settlement(held[1], "delete")])

    assert driver.renew([*held, *low], UNTIL + 60) == [True, False, True, True]
    scores = dict(redis_client.zrange(f"{DEFAULT}:reserved", 0, -1, withscores=True))
    assert scores == {held[0].held: UNTIL + 60, held[2].held: UNTIL + 60}
    assert driver.pop("default", 3, UNTIL + 59, UNTIL + 100).deliveries == []


def test_what_is_done_is_deleted(driver, redis_client):
    driver.push(parcels(2))
    found = driver.pop("default", 2, NOW, UNTIL)

    assert driver.settle(settlements(found, "delete")) == [True, True]
    assert everything(redis_client) == {}
    assert driver.settle(settlements(found, "delete")) == [False, False]


def test_a_release_leaves_what_laravels_own_leaves(laravel, driver, redis_client):
    laravel.ask.push("Fails", [5, "60"])
    [text] = redis_client.lrange(DEFAULT, 0, -1)
    laravel.work("once")
    [(theirs, score)] = everything(redis_client).pop(f"{DEFAULT}:delayed")
    redis_client.flushall()
    driver.push([Parcel("default", text)])
    found = driver.pop("default", 1, NOW, UNTIL)

    driver.settle(settlements(found, "release", available_at=NOW + 60))

    [(ours, at)] = everything(redis_client).pop(f"{DEFAULT}:delayed")
    assert json.loads(ours) == json.loads(theirs)
    assert ours == found.deliveries[0].held
    assert abs(score - time.time() - 60) < 10
    assert at == NOW + 60
    assert driver.counts("default") == Counts(0, 1, 0)


def test_who_has_lost_a_job_does_not_copy_it(driver, redis_client):
    driver.push(parcels(1))
    late = driver.pop("default", 1, NOW, UNTIL)
    driver.settle(settlements(driver.pop("default", 1, UNTIL, UNTIL + LEASE), "delete"))

    for verb in ("release", "return", "bury"):
        settled = driver.settle(settlements(late, verb, follow=tuple(parcels(1))))
        assert settled == [False]

    assert everything(redis_client) == {}


def test_what_is_returned_stands_at_the_head_as_it_was(driver, redis_client):
    driver.push(parcels(5))
    found = driver.pop("default", 3, NOW, UNTIL)
    before = [each.body for each in found.deliveries]

    for settlement in reversed(settlements(found, "return")):
        driver.settle([settlement])

    assert redis_client.lrange(DEFAULT, 0, -1) == [*before, body(4), body(5)]
    assert redis_client.llen(f"{DEFAULT}:notify") == 5
    [again] = driver.pop("default", 1, NOW, UNTIL).deliveries
    assert again.attempts == 1


def test_several_that_are_returned_at_once_keep_their_order(driver, redis_client):
    driver.push(parcels(5))
    found = driver.pop("default", 3, NOW, UNTIL)

    driver.settle(settlements(found, "return"))

    assert uuids(redis_client.lrange(DEFAULT, 0, -1)) == ["u1", "u2", "u3", "u4", "u5"]


def test_what_is_buried_is_kept_as_a_letter(driver, redis_client):
    driver.push(parcels(2))
    first, second = settlements(driver.pop("default", 2, NOW, UNTIL), "bury")

    driver.settle([first._replace(letter='{"n": 1}'), second._replace(letter='{"n": "é"}')])

    assert driver.dead("default", 10) == ['{"n": "é"}', '{"n": 1}']  # newest first
    assert driver.dead("default", 1) == ['{"n": "é"}']
    assert driver.counts("default") == Counts(0, 0, 0)


def test_a_letter_is_pushed_again_or_deleted_once(driver, redis_client):
    driver.bury("default", "letter one")
    driver.bury("default", "letter two")

    assert driver.exhume("default", "letter one", body(1))
    assert driver.exhume("default", "letter two", None)
    assert not driver.exhume("default", "letter two", body(2))
    assert everything(redis_client) == {DEFAULT: [body(1)], f"{DEFAULT}:notify": ["1"]}


def test_followers_go_out_in_the_same_step(driver, redis_client):
    driver.push(parcels(2))
    found = driver.pop("default", 2, NOW, UNTIL)
    follow = (
        Parcel("default", body(10)),
        Parcel("other", body(11)),
        Parcel("other", body(12), NOW + 60),
        Parcel("other", body(13)),
    )
    one, two = settlements(found, "delete")
    driver.settle([two])

    settled = driver.settle([one._replace(follow=follow), two._replace(follow=follow)])

    assert settled == [True, False]
    assert everything(redis_client) == {
        DEFAULT: [body(10)],
        f"{DEFAULT}:notify": ["1"],
        f"{P}other": [body(11), body(13)],
        f"{P}other:notify": ["1", "1"],
        f"{P}other:delayed": [(body(12), NOW + 60)],
    }


def test_settlements_of_several_queues_are_answered_in_order(driver):
    driver.push([*parcels(2, "a"), *parcels(1, "b")])
    a, b = driver.pop("a", 2, NOW, UNTIL), driver.pop("b", 1, NOW, UNTIL)
    gone = Delivery("b", body(9), body(9, attempts=1), 1)
    mixed = [a.deliveries[0], gone, b.deliveries[0], a.deliveries[1]]

    settled = driver.settle([Settlement(each, "delete") for each in mixed])

    assert settled == [True, False, True, True]


def test_what_comes_next_is_looked_for_in_the_same_round_trip(driver, redis_client):
    driver.push(parcels(3))
    first = driver.pop("default", 1, NOW, UNTIL)
    driver.settle([])

    assert driver.settle(settlements(first, "delete"), Look("default", 1, NOW, UNTIL)) == [True]
    assert driver.counts("default") == Counts(1, 0, 1)  # it is reserved by now
    second = driver.pop("default", 1, NOW, UNTIL)
    assert uuids(second) == ["u2"]
    redis_client.script_flush()
    assert driver.settle(settlements(second, "delete"), Look("default", 5, NOW, UNTIL)) == [True]
    assert uuids(driver.pop("default", 5, NOW, UNTIL)) == ["u3"]
    assert driver.counts("default") == Counts(0, 0, 1)


def test_a_queue_is_counted_and_cleared_as_laravel_has_it(laravel, driver, redis_client):
    driver.push([*parcels(3), Parcel("default", body(4), 4 * NOW)])
    now = int(time.time())
    driver.pop("default", 1, now, now + LEASE)
    driver.bury("default", "letter")

    assert driver.counts("default") == Counts(2, 1, 1)
    assert laravel.ask.size() == 4
    assert driver.clear("default") == 4
    assert laravel.ask.size() == driver.clear("default") == 0
    assert everything(redis_client) == {f"{DEFAULT}:dead": ["letter"]}


# ── clients of every kind ──


@contextlib.contextmanager
def blocking(server, **options):
    with server.client(**options) as client:
        yield Blocking(client)


@contextlib.contextmanager
def pooled(server):
    pool = redis.BlockingConnectionPool(port=server.port, max_connections=2, timeout=5)
    with redis.Redis(connection_pool=pool) as client:
        yield Blocking(client)
    pool.disconnect()


def bridged(server, **options):
    async def made():
        return redis.asyncio.Redis(port=server.port, **options)

    return on_a_loop(made())


@contextlib.contextmanager
def on_a_loop(made):
    """A client that is awaited on a loop in another thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    client = asyncio.run_coroutine_threadsafe(made, loop).result()
    yield Bridged(client, loop)
    asyncio.run_coroutine_threadsafe(client.aclose(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


class Sentinel(servers.Server):
    """A Redis Sentinel that watches one server."""

    def __init__(self, watched):
        super().__init__()
        (self.folder / "sentinel.conf").write_text(
            f"port {self.port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {watched.port} 1\n"
        )

    def _command(self):
        program = servers.find("redis-server", "valkey-server")
        return [program, str(self.folder / "sentinel.conf"), "--sentinel"]

    def _answers(self):
        with contextlib.suppress(redis.ConnectionError), redis.Redis(port=self.port) as client:
            return client.ping()


@contextlib.contextmanager
def watched(server):
    with servers.running(Sentinel(server)) as sentinel:
        known = redis.Sentinel([("127.0.0.1", sentinel.port)])
        client = known.master_for("main")
        yield Blocking(client)
        client.close()
        for each in known.sentinels:
            each.close()


CLIENTS = {
    "bytes": lambda server: blocking(server, decode_responses=False),
    "texts": lambda server: blocking(server, decode_responses=True),
    "RESP2": lambda server: blocking(server, protocol=2),
    "RESP3": lambda server: blocking(server, protocol=3),
    "one connection": lambda server: blocking(server, single_connection_client=True),
    "small pool": pooled,
    "sentinel": watched,
    "awaited bytes": bridged,
    "awaited texts": lambda server: bridged(server, decode_responses=True),
}


@pytest.mark.parametrize("kind", CLIENTS)
def test_any_client_will_do(kind, redis_server):
    with CLIENTS[kind](redis_server) as client:
        driver, cache = RedisDriver(client, Keys()), RedisCache(client, CACHE)
        driver.push([Parcel("default", body(1, data="é")), *parcels(2), Parcel("default", "bad")])

        found = driver.pop("default", 2, NOW, UNTIL)

        assert [each.attempts for each in found.deliveries] == [1, 1]
        assert found.deliveries[0].body == body(1, data="é")
        assert driver.renew(found.deliveries, UNTIL + 5) == [True, True]
        one, two = found.deliveries
        settled = driver.settle([Settlement(one, "delete"), Settlement(two, "bury", 0, "é")])
        assert settled == [True, True]
        assert driver.pop("default", 2, NOW, UNTIL).next_at == UNTIL
        [three] = driver.pop("default", 9, UNTIL, UNTIL + LEASE).deliveries
        ahead = Look("default", 1, NOW, UNTIL)
        assert driver.settle([Settlement(three, "return")], ahead) == [True]
        assert driver.pop("default", 1, NOW, UNTIL).deliveries[0].attempts == 2
        assert driver.counts("default") == Counts(0, 0, 1)
        assert json.loads(driver.dead("default", 1)[0])["payload"] == "bad"
        assert driver.clear("default") == 1
        assert cache.lock("k", "me", 60)
        assert not cache.lock("k", "you", 60)
        assert cache.get(["k", "none"]) == ["me", None]
        assert cache.get([]) == []
        cache.unlock("k", "me")
        assert cache.count("n", 60) == 1
        assert cache.count("n", 60) == 2
        driver.close()
        cache.close()


def test_a_client_of_ours_connects_when_it_is_used(redis_server):
    client = clients.connect(redis_server.url)

    driver = RedisDriver(client, Keys())
    driver.push(parcels(1))

    assert driver.counts("default").ready == 1
    driver.close()


def test_scripts_that_the_server_forgot_are_sent_again(driver, redis_client):
    for _ in range(2):
        redis_client.script_flush()
        driver.push(parcels(1))

    assert driver.counts("default").ready == 2


def test_a_client_that_is_awaited_pushes_by_the_same_calls(redis_server, redis_client, driver):
    async def push():
        client = redis.asyncio.Redis(port=redis_server.port)
        awaiting = Awaiting(client)
        for call in driver.push_calls([*parcels(3), Parcel("low", body(9), NOW)]):
            await awaiting.run(*call)
        assert await awaiting.send("LLEN", DEFAULT) == 3
        assert await awaiting.send_all([("LLEN", DEFAULT), ("ZCARD", f"{P}low:delayed")]) == [3, 1]
        await client.aclose()

    asyncio.run(push())

    assert uuids(redis_client.lrange(DEFAULT, 0, -1)) == ["u1", "u2", "u3"]


@pytest.mark.parametrize("decode", [True, False])
def test_a_whole_async_queue_runs_on_one_client(redis_server, redis_client, decode):
    got = []

    async def main():
        client = redis.asyncio.Redis(port=redis_server.port, decode_responses=decode)
        queue = AsyncQueue(client, "python", 3)
        queue.handler(lambda job: got.append(job["data"]["n"]))
        await queue.push("App\\Jobs\\Step", {"n": 0})
        await queue.bulk([("App\\Jobs\\Step", {"n": n}) for n in range(1, 10)])
        assert (await queue.size()).ready == 10
        await queue.listen(stop_when_empty=True)
        assert await queue.clear() == 0
        await client.aclose()

    asyncio.run(main())

    assert sorted(got) == list(range(10))
    assert everything(redis_client) == {}


def test_a_loop_that_is_gone_is_said_so(redis_server):
    loop = asyncio.new_event_loop()
    loop.close()
    client = Bridged(redis.asyncio.Redis(port=redis_server.port), loop)

    with pytest.raises(BrokerUnavailable, match="the event loop of the Redis client is gone"):
        client.send("PING")


def test_a_client_blocks_no_longer_than_its_timeout_allows(redis_server):
    def seconds(**options):
        with redis_server.client(**options) as client:
            return blocking_seconds(client)

    assert seconds() == 1.0
    assert seconds(socket_timeout=1) == 0.5
    assert seconds(socket_timeout=None) == 1.0
    assert seconds(single_connection_client=True) == 0.0
    pool = redis.ConnectionPool(port=redis_server.port, max_connections=2)
    assert blocking_seconds(redis.Redis(connection_pool=pool)) == 0.0
    assert blocking_seconds(redis.asyncio.Redis(single_connection_client=True)) == 0.0
    assert blocking_seconds(object()) == 1.0


# ── a cluster ──


@pytest.fixture(scope="module")
def cluster_server(need):
    """A Redis Cluster of one node, which minds slots as a large one does."""
    need(servers.Redis.there(), "redis-server")
    with servers.running(servers.Redis(options=("--cluster-enabled", "yes"))) as server:
        with server.client() as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            server._wait(
                lambda: "cluster_state:ok" in client.execute_command("CLUSTER", "INFO"), "cluster"
            )
        yield server


@pytest.fixture
def cluster(cluster_server):
    with redis.RedisCluster(port=cluster_server.port, host="127.0.0.1") as client:
        client.flushall()
        yield client


def test_a_cluster_has_each_queue_in_a_slot_of_its_own(cluster):
    driver = RedisDriver(Blocking(cluster), Keys(cluster=True))
    driver.push([*parcels(3), *parcels(1, "low"), *parcels(1, "{own}:x")])

    found = driver.pop("default", 2, NOW, UNTIL)

    assert uuids(found) == ["u1", "u2"]
    assert driver.renew(found.deliveries, UNTIL) == [True, True]
    assert driver.counts("default") == Counts(1, 0, 2)
    assert driver.clear("low") == 1
    assert cluster.llen("laravel_database_queues:{default}") == 1
    assert cluster.llen("laravel_database_queues:{own}:x") == 1


@pytest.mark.parametrize(
    ("keys", "queue"), [(Keys(cluster=True), "default"), (Keys(), "{default}")]
)
def test_followers_of_a_cluster_go_to_any_slot_once(cluster, keys, queue):
    driver = RedisDriver(Blocking(cluster), keys)
    driver.push([Parcel(queue, body(1))])
    found = driver.pop(queue, 1, NOW, UNTIL)
    there = ("{other}", "{third}")
    follow = (Parcel(queue, body(2)), *(Parcel(other, body(3)) for other in there))
    settled = settlements(found, "delete", follow=follow)
    run, failing = driver.client.run, {"settle"}

    def fail_once(name, *rest):
        if name in failing:
            failing.discard(name)
            raise BrokerUnavailable("not now")
        return run(name, *rest)

    driver.client.run = fail_once
    with pytest.raises(BrokerUnavailable):
        driver.settle(settled)

    assert driver.settle(settled) == [True]
    assert driver.settle(settled) == [False]
    assert driver.counts(queue) == Counts(1, 0, 0)
    assert [driver.counts(other).ready for other in there] == [1, 1]


def test_a_client_of_a_cluster_may_be_awaited(cluster, cluster_server):
    async def made():
        return redis.asyncio.RedisCluster(port=cluster_server.port, host="127.0.0.1")

    with on_a_loop(made()) as client:
        driver = RedisDriver(client, Keys(cluster=True))
        driver.push([*parcels(2), *parcels(1, "low")])

        found = driver.pop("default", 2, NOW, UNTIL)

        follow = tuple(parcels(1, "low"))
        assert driver.settle(settlements(found, "delete", follow=follow)) == [True, True]
        assert driver.counts("low") == Counts(3, 0, 0)
        cache = RedisCache(client, CACHE)
        assert cache.count("n", 60) == 1
        assert cache.get(["n", "none", "other"]) == ["1", None, None]


def test_a_cluster_without_braces_says_what_is_missing(cluster):
    driver = RedisDriver(Blocking(cluster), Keys())

    with pytest.raises(BrokerError, match="slot"):
        driver.push(parcels(1))


def test_laravels_cache_lies_in_any_slot(cluster):
    cache = RedisCache(Blocking(cluster), CACHE)
    cache.put("a", "1", None)
    cache.put("b", "b:1;", 60)

    assert cache.get(["a", "none", "b"]) == ["1", None, "b:1;"]
    assert (cache.count("n", 60), cache.count("n", 60)) == (1, 2)
    assert cache.lock("l", "me", None)
    cache.unlock("l", None)
    assert cache.lock("l", "me", 60)


def test_the_bell_of_a_cluster_rings_for_the_first_queue(cluster):
    driver = RedisDriver(Blocking(cluster), Keys(cluster=True))
    bell = driver.listen(["first", "second"])
    bell.arm()

    driver.push(parcels(1, "first"))

    assert rings(bell)
    bell.close()


def test_queues_of_one_slot_share_the_bell(cluster):
    driver = RedisDriver(Blocking(cluster), Keys(cluster=True))
    bell = driver.listen(["{a}1", "{a}2"])
    bell.arm()

    driver.push(parcels(1, "{a}2"))

    assert rings(bell)
    bell.close()


# ── faults ──


@pytest.fixture
def full(redis_server, redis_client):
    """`with full():` the server has no memory left."""

    @contextlib.contextmanager
    def no_memory():
        redis_client.config_set("maxmemory", 1)
        try:
            yield
        finally:
            redis_client.config_set("maxmemory", 0)

    return no_memory


def test_a_full_redis_loses_nothing(full, driver, redis_client):
    driver.push([*parcels(2), Parcel("default", body(3), NOW - 1)])
    redis_client.rpush(DEFAULT, "poison")
    before = everything(redis_client)

    with full():
        for act in (
            lambda: driver.push(parcels(1)),
            lambda: driver.pop("default", 1, NOW, UNTIL),
            lambda: driver.pop("default", 1, NOW - 5, UNTIL),
            lambda: driver.bury("default", "x"),
            lambda: RedisCache(driver.client, CACHE).count("n", 5),
        ):
            with pytest.raises(BrokerFull, match="no memory left, nothing was stored"):
                act()
            assert everything(redis_client) == before

    assert uuids(driver.pop("default", 2, NOW, UNTIL)) == ["u1", "u2"]


def test_a_full_redis_still_lets_jobs_end(full, driver, redis_client):
    driver.push(parcels(3))
    done, again, failed = driver.pop("default", 3, NOW, UNTIL).deliveries

    with full():
        assert driver.settle([Settlement(done, "delete")]) == [True]
        for settlement in (Settlement(again, "release", NOW), Settlement(failed, "bury", 0, "x")):
            with pytest.raises(BrokerFull):
                driver.settle([settlement])
    assert driver.counts("default") == Counts(0, 0, 2)
    assert driver.settle([Settlement(again, "release", NOW)]) == [True]


def test_a_replica_says_that_it_may_only_be_read(driver, redis_client):
    driver.push(parcels(1))
    redis_client.execute_command("REPLICAOF", "127.0.0.1", servers.free_port())
    try:
        with pytest.raises(BrokerReadOnly, match="a replica that may only be read"):
            driver.push(parcels(1))
        with pytest.raises(BrokerReadOnly):
            driver.pop("default", 1, NOW, UNTIL)
        assert driver.counts("default").ready == 1
    finally:
        redis_client.execute_command("REPLICAOF", "NO", "ONE")


@pytest.fixture
def guest(redis_server, redis_client):
    """A user of Redis who may nothing; its options."""
    redis_client.execute_command("ACL", "SETUSER", "guest", "on", ">secret", "~*", "-@all")
    yield {"username": "guest", "password": "secret"}
    redis_client.execute_command("ACL", "DELUSER", "guest")


@pytest.mark.parametrize("change", [{}, {"password": "wrong"}], ids=["no rights", "wrong password"])
def test_who_is_not_let_in_is_told_so(redis_server, guest, change):
    with redis_server.client(retry=None, **{**guest, **change}) as client:
        driver = RedisDriver(Blocking(client), Keys())
        for act in (lambda: driver.push(parcels(1)), lambda: driver.counts("default")):
            with pytest.raises(BrokerUnavailable, match="check user and password") as caught:
                act()
            assert "secret" not in str(caught.value)


@pytest.mark.parametrize("kind", ["ours", "theirs", "awaited"])
def test_a_server_that_is_not_there_is_said_so(kind):
    port = servers.free_port()
    with contextlib.ExitStack() as stack:
        if kind == "ours":
            client = clients.connect(f"redis://127.0.0.1:{port}")
        elif kind == "theirs":
            client = Blocking(stack.enter_context(redis.Redis(port=port, retry=None)))
        else:
            client = stack.enter_context(bridged(argument(port), retry=None))
        for act in (
            lambda: client.send("PING"),
            lambda: client.send_all([("PING",)]),
            lambda: client.run("clear", ["a", "b", "c", "d"], ()),
        ):
            with pytest.raises(BrokerUnavailable, match=f"cannot be reached: .*{port}"):
                act()


def argument(port):
    return type("Server", (), {"port": port})


def test_a_command_that_redis_refuses_is_told(driver, redis_client):
    redis_client.set(DEFAULT, "no list")

    with pytest.raises(BrokerError, match=r"refused a command: .*WRONGTYPE"):
        driver.push(parcels(1))


def test_a_mistake_of_ours_is_no_fault_of_redis(redis_client):
    client = Blocking(redis_client)

    with pytest.raises(BrokerError, match="DataError"):
        client.send("SET", "k", object())


def test_another_error_passes_as_it_is():
    class Broken:
        def execute_command(self, *command, **options):
            raise KeyError("mine")

    with pytest.raises(KeyError):
        Blocking(Broken()).send("PING")


# ── Laravel's cache ──


@pytest.fixture
def cache(redis_client):
    """The cache as Laravel 8 to 10 have it; newer ones put no colon behind the prefix."""
    return RedisCache(Blocking(redis_client), CACHE)


def test_the_signal_to_restart_is_the_text_that_laravel_writes(laravel, cache, redis_client):
    before = int(time.time())
    laravel.artisan("queue:restart")

    [told] = cache.get(["illuminate:queue:restart"])

    assert before <= int(told) <= time.time()
    assert redis_client.keys("*") == [f"{CACHE}illuminate:queue:restart"]
    cache.put("illuminate:queue:restart", "1800000000", None)
    assert int(laravel.ask.cached("illuminate:queue:restart")) == 1800000000


def test_values_are_what_laravels_cache_reads(laravel, cache, redis_client):
    cache.put("flag", "b:1;", 60)
    laravel.ask.cache("theirs", True)

    assert laravel.ask.cached("flag") is True
    assert cache.get(["theirs"]) == ["b:1;"]
    assert 0 < redis_client.ttl(f"{CACHE}flag") <= 60
    cache.delete("flag")
    assert laravel.ask.cached("flag") is None


def test_a_counter_is_shared_with_laravel(laravel, cache, redis_client):
    assert cache.count("job-exceptions:1", 86400) == 1
    laravel.ask.evaluate("app('cache.store')->increment('job-exceptions:1');")

    assert cache.count("job-exceptions:1", 86400) == 3
    assert int(laravel.ask.cached("job-exceptions:1")) == 3
    assert 86300 < redis_client.ttl(f"{CACHE}job-exceptions:1") <= 86400


def test_a_lock_is_shared_with_laravel(laravel, cache, redis_client):
    assert laravel.ask.lock("theirs", 60, "them")
    assert not cache.lock("theirs", "us", 60)
    cache.unlock("theirs", "us")
    assert laravel.ask.locked("theirs")
    cache.unlock("theirs", "them")
    assert cache.lock("theirs", "us", 60)
    assert not laravel.ask.lock("theirs", 60, "them")
    assert 0 < redis_client.ttl(f"{CACHE}theirs") <= 60
    cache.unlock("theirs", None)
    assert laravel.ask.lock("theirs", 60, "them")


def test_a_lock_for_ever_has_no_end(cache, redis_client):
    assert cache.lock("a", "us", None)

    assert redis_client.ttl(f"{CACHE}a") == -1


# ── the bell ──


@pytest.fixture
def bell(driver):
    bell = driver.listen(["default", "low"])
    yield bell
    bell.close()


def rings(bell, seconds=5.0):
    return bool(select.select([bell], [], [], seconds)[0])


def waiting(client):
    """How many clients of the server block."""
    return client.info("clients")["blocked_clients"]


def until(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("queue", ["default", "low"])
def test_the_bell_wakes_a_sleeping_worker_at_once(bell, driver, redis_client, queue):
    took = []
    for _ in range(5):
        bell.arm()
        until(lambda: waiting(redis_client) == 1)
        start = time.perf_counter()
        driver.push(parcels(1, queue))
        assert rings(bell)
        took.append(time.perf_counter() - start)
        bell.disarm()

    print(f"the bell rang after {min(took) * 1000:.2f} to {max(took) * 1000:.2f} ms")
    assert min(took) < 0.05
    assert redis_client.llen(f"{P}{queue}:notify") == 0


def test_the_bell_rings_for_what_laravel_pushes(bell, laravel, redis_client):
    bell.arm()

    laravel.ask.push("Plain")

    assert rings(bell)


def test_a_ring_that_is_not_wanted_any_more_is_given_back(bell, driver, redis_client):
    bell.arm()
    until(lambda: waiting(redis_client) == 1)
    bell.disarm()

    driver.push(parcels(1))

    until(lambda: waiting(redis_client) == 0)
    until(lambda: redis_client.llen(f"{DEFAULT}:notify") == 1)
    assert not rings(bell, 0.05)


def test_a_bell_that_is_not_armed_asks_nothing(driver, redis_client):
    bell = driver.listen(["default"])
    bell.arm()
    until(lambda: waiting(redis_client) == 1)
    bell.disarm()
    until(lambda: waiting(redis_client) == 0)
    before = redis_client.info("stats")["total_commands_processed"]

    time.sleep(0.3)

    after = redis_client.info("stats")["total_commands_processed"]
    assert after - before == 1  # our own question
    assert bell.stirred()
    bell.close()


def test_a_ring_that_came_is_forgotten_when_disarmed(bell, driver, redis_client):
    driver.push(parcels(1))
    bell.arm()
    assert rings(bell)

    bell.disarm()

    assert not rings(bell, 0)
    bell.disarm()


def test_a_bell_that_may_not_block_makes_no_sound(redis_client):
    bell = RedisDriver(Blocking(redis_client), Keys(), block=0).listen(["default"])

    bell.arm()

    assert bell._thread is None
    bell.close()


def test_the_bell_ends_with_its_listener(driver, redis_client):
    bell = driver.listen(["default"])
    bell.arm()
    until(lambda: waiting(redis_client) == 1)

    bell.close()
    driver.push(parcels(1))

    bell._thread.join(5)
    assert not bell._thread.is_alive()
    assert redis_client.llen(f"{DEFAULT}:notify") == 1


def test_a_bell_that_is_closed_while_its_client_fails_ends(redis_client):
    class Failing:
        def send(self, *command):
            bell.close()
            raise BrokerUnavailable("gone")

    bell = RedisDriver(Failing(), Keys()).listen(["default"])
    bell.arm()

    bell._thread.join(5)
    assert not bell._thread.is_alive()


def test_the_bell_outlives_a_fault_and_still_ends(redis_server):
    with redis_server.client(retry=None) as client:
        bell = RedisDriver(Blocking(client), Keys()).listen(["default"])
        bell.arm()
        until(lambda: waiting(client) == 1)
        redis_server.restart()
        until(lambda: not bell._wanted.is_set())
        bell.arm()
        until(lambda: waiting(client) == 1)
        client.rpush(f"{DEFAULT}:notify", 1)
        assert rings(bell)
        bell.arm()
        redis_server.stop()
        bell.close()
        bell._thread.join(5)
        assert not bell._thread.is_alive()
