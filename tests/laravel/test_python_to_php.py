"""What Python pushes, run by a real Laravel, which takes it for its own; and what is refused.

What Laravel dispatches is test_php_to_python's.
"""

import asyncio
import json
import time
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from uuid import UUID

import pairs
import pytest
import redis.asyncio
from pairs import handled, told

from lara_queue import AsyncQueue, EncodingError, PhpEnum, PhpObject, Queue
from lara_queue import database as database_place

OTHER_KEY = "base64:ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="


class Color(Enum):
    RED = "red"


def address(**public):
    return PhpObject.of("App\\Address", public, {"zip": "1010"}, {"code": "hidden"})


# -- what arrives


RICH = {
    "text": "wörld 🎈 \0 \" ' \\ / 日本",
    "integer": -(2**63),
    "float": 1 / 3,
    "whole": 2.0,
    "yes": False,
    "nothing": None,
    "list": [0, -0.5, "", [], [[True]], {"k": [None]}],
    "map": {"ä": 1, "b": {"c": {}}},
    "numbered": {7: "seven", "8": "eight", "08": "text"},
    "shielded": {"token": ["new"]},
    "hidden": -7,
    "typed": 43,
    "maybe": "now",
    "address": address(city="Wien", next=address(city="Graz", next=None)),
    "twice": (1, 2),
    "suit": PhpEnum("App\\Suit", "Spades"),
    "mood": PhpEnum("App\\Mood", "Calm"),
    "moment": datetime(2026, 7, 8, 9, 10, 11, 121314, timezone(timedelta(hours=2))),
    "carbon": date(2026, 1, 2),
    "collection": [Decimal("1.50"), UUID(int=1), Color.RED, timedelta(minutes=2)],
}
CARBON = "Illuminate\\Support\\Carbon"
IN_PHP = {
    "+text": "wörld 🎈 \0 \" ' \\ / 日本",
    "+integer": -(2**63),
    "+float": 1 / 3,
    "+whole": 2.0,
    "+yes": False,
    "+nothing": None,
    "+list": [0, -0.5, "", [], [[True]], {"k": [None]}],
    "+map": {"ä": 1, "b": {"c": []}},
    "+numbered": {"@array": [[7, "seven"], [8, "eight"], ["08", "text"]]},
    "#shielded": {"token": ["new"]},
    "-hidden": -7,
    "+typed": 43,
    "+maybe": "now",
    "+address": {
        "@class": "App\\Address",
        "+city": "Wien",
        "#zip": "1010",
        "-code": "hidden",
        "+next": {
            "@class": "App\\Address",
            "+city": "Graz",
            "#zip": "1010",
            "-code": "hidden",
            "+next": None,
        },
    },
    "+twice": [1, 2],
    "+suit": {"@enum": "App\\Suit::Spades"},
    "+mood": {"@enum": "App\\Mood::Calm"},
    "+moment": {"@date": "2026-07-08T09:10:11.121314+02:00", "@class": CARBON, "zone": "+02:00"},
    "+carbon": {"@date": "2026-01-02T00:00:00.000000+00:00", "@class": CARBON, "zone": "UTC"},
    "+collection": ["1.50", "00000000-0000-0000-0000-000000000001", "red", 120],
}


def test_property_of_every_kind_is_read_by_php_as_meant(pair):
    uuid = pair.queue().push("App\\Jobs\\Rich", RICH)

    events = pair.laravel.work()

    assert handled(events) == [("Rich", IN_PHP)]
    [processed] = told(events, "processed")
    assert (processed["uuid"], processed["attempts"]) == (uuid, 1)
    assert processed["class"] == "App\\Jobs\\Rich"
    assert pair.size() == 0


def test_properties_that_are_left_out_have_their_classes_defaults(pair):
    pair.queue().push("App\\Jobs\\Rich", {"typed": 1})

    [(_, got)] = handled(pair.laravel.work())

    assert got["+typed"] == 1
    assert (got["+text"], got["#shielded"]) == ("héllo 🎉 日本", {"token": "t0ken"})
    assert (got["-hidden"], got["+address"]) == (-5, None)


def test_properties_may_be_as_strict_as_they_like(pair):
    data = {
        "to": "b@example.org",
        "count": 2,
        "rows": [{"a": 1}],
        "price": 0.1,
        "address": address(city="Linz", next=None),
        "when": datetime(2026, 3, 4, 5, 6, 7, tzinfo=timezone.utc),
        "suit": PhpEnum("App\\Suit", "Hearts"),
    }

    pair.queue().push("App\\Jobs\\Typed", data)
    [(_, got)] = handled(pair.laravel.work())

    assert (got["+to"], got["+count"], got["#rows"], got["-price"]) == (
        "b@example.org",
        2,
        [{"a": 1}],
        0.1,
    )
    assert got["+address"]["+city"] == "Linz"
    assert got["+when"]["@date"] == "2026-03-04T05:06:07.000000+00:00"
    assert (got["+suit"], got["+extra"]) == ({"@enum": "App\\Suit::Hearts"}, "default")


def test_model_is_loaded_by_its_id(pair):
    pair.ask.evaluate("App\\Invoice::create(['number' => 'A1']); return 1;")
    said = {"class": "App\\Invoice", "id": 1, "relations": [], "connection": None}
    invoice = PhpObject.of("Illuminate\\Contracts\\Database\\ModelIdentifier", said)

    pair.queue().push("App\\Jobs\\Modelled", {"invoice": invoice})
    [(_, got)] = handled(pair.laravel.work())

    assert got["+invoice"]["#attributes"] == {"id": 1, "number": "A1"}


def test_awaited_push_is_read_the_same(pair):
    async def push():
        async with pair.aqueue() as queue:
            return await queue.push("App\\Jobs\\Rich", RICH)

    uuid = asyncio.run(push())
    events = pair.laravel.work()

    assert handled(events) == [("Rich", IN_PHP)]
    assert told(events, "processed")[0]["uuid"] == uuid


@pytest.mark.parametrize("kind", ["blocking", "awaited"])
def test_bulk_arrives_whole_and_in_order(pair, kind):
    jobs = [("App\\Jobs\\Step", {"n": n}) for n in range(50)]

    async def push():
        async with pair.aqueue() as queue:
            return await queue.bulk(jobs)

    uuids = pair.queue().bulk(jobs) if kind == "blocking" else asyncio.run(push())
    events = pair.laravel.work()

    assert [got["+n"] for _, got in handled(events)] == list(range(50))
    assert [each["uuid"] for each in told(events, "processed")] == uuids


def test_delayed_job_runs_when_it_is_due_and_not_before(pair):
    worker = pair.laravel.start_worker()
    began = time.time()

    pair.queue().push("App\\Jobs\\Plain", {"name": "late"}, delay=1.5)
    [run] = worker.wait_for("handled")

    assert run["got"] == {"+name": "late"}
    assert began + 1.5 <= time.time() < began + 5


def test_delay_may_be_a_length_or_a_moment(pair):
    queue = pair.queue()
    queue.push("App\\Jobs\\Plain", delay=timedelta(minutes=1))
    queue.push("App\\Jobs\\Plain", delay=datetime.now(timezone.utc) + timedelta(minutes=2))

    waits = pair.waits()
    early = pair.laravel.work()

    assert [58 < waits[0] <= 61, 118 < waits[1] <= 121] == [True, True]
    assert told(early) == []
    assert pair.size() == 2


def test_queues_are_emptied_by_laravel_in_its_order(pair):
    queue = pair.queue()
    for name, where in (("d1", "default"), ("h1", "high"), ("d2", "default"), ("h2", "high")):
        queue.push("App\\Jobs\\Plain", {"name": name}, queue=where)

    events = pair.laravel.work("stop-when-empty", "high,default")

    assert [got["+name"] for _, got in handled(events)] == ["h1", "h2", "d1", "d2"]


def test_worker_that_blocks_is_woken_at_once(laravel, redis_server):
    pair = pairs.Pair(laravel, redis_server, "redis")
    worker = laravel.start_worker(BLOCK_FOR=10)
    time.sleep(0.5)  # it sleeps at the empty queue by now

    pair.queue().push("App\\Jobs\\Plain")
    began = time.monotonic()
    worker.wait_for("handled")

    assert time.monotonic() - began < 2
    pair.close()


@pytest.mark.parametrize(("method", "shown"), [("build", "Report@build"), ("fire", "Report")])
def test_string_job_brings_its_free_data(pair, method, shown):
    data = {"a": 1, "b": 'é/"', "c": [1.5, None, {"d": []}], "e": 2**60}

    pair.queue().push(f"App\\Handlers\\Report@{method}", data)
    [run] = told(pair.laravel.work(), "handled")

    assert run["class"] == f"App\\Handlers\\{shown}"
    assert run["got"] == data


# -- encrypted


def test_encrypted_job_is_read_by_php(pair):
    pair.queue().push("App\\Jobs\\Secret", {"card": "4242 é"}, encrypted=True)

    [text] = [payload["data"]["command"] for payload in pair.payloads()]
    events = pair.laravel.work()

    assert "4242" not in text
    assert not text.startswith("O:")
    assert handled(events) == [("Secret", {"+card": "4242 é"})]


def test_job_that_is_encrypted_for_another_application_is_refused_by_php(pair):
    queue = pair.queue(app_key=OTHER_KEY)
    queue.push("App\\Jobs\\Secret", {"card": "1"}, encrypted=True, max_tries=1)

    events = pair.laravel.work()

    assert [each["message"] for each in told(events, "failed")] == ["The MAC is invalid."]


# -- unique


def dispatched(pair, id):
    """Whether Laravel pushes such a unique job."""
    before = pair.size()
    pair.ask.evaluate(f"App\\Jobs\\Unique::dispatch({id}); return 1;")
    return pair.size() > before


def test_unique_job_of_python_keeps_laravels_away_until_it_has_run(pair):
    queue = pair.queue()

    first = queue.push("App\\Jobs\\Unique", {"id": 7}, unique_id="u7", unique_for=60)
    second = queue.push("App\\Jobs\\Unique", {"id": 7}, unique_id="u7", unique_for=60)
    theirs = dispatched(pair, 7)
    other = dispatched(pair, 8)
    events = pair.laravel.work()

    assert (first is not None, second, theirs, other) == (True, None, False, True)
    assert [got["+id"] for _, got in handled(events)] == [7, 8]
    assert dispatched(pair, 7)


def test_unique_job_of_laravel_keeps_pythons_away_until_it_has_run(pair):
    async def push():
        async with pair.aqueue() as queue:
            return await queue.push("App\\Jobs\\Unique", {"id": 7}, unique_id="u7")

    assert dispatched(pair, 7)

    before = asyncio.run(push())
    pair.laravel.work()
    after = asyncio.run(push())

    assert before is None
    assert after is not None
    assert not dispatched(pair, 7)


# -- options


def test_tries_and_backoff_are_laravels_rules(pair):
    pair.queue().push("App\\Jobs\\Fails", max_tries=3, backoff=[10, 20])

    waits, messages = [], []
    for _ in range(3):
        messages += told(pair.laravel.work(), "exception")
        waits += pair.waits()
        pair.hurry()

    assert [each["attempts"] for each in messages] == [1, 2, 3]
    assert [round(wait / 10) * 10 for wait in waits] == [10, 20]
    [row] = pair.failed()
    assert (row["connection"], row["queue"]) == (pair.driver, "default")


def test_exceptions_are_counted_by_laravel(pair):
    pair.queue().push("App\\Jobs\\Fails", max_tries=9, max_exceptions=1)

    events = pair.laravel.work()

    assert [each["attempts"] for each in told(events, "failed")] == [1]


def test_last_moment_goes_before_tries_in_laravel(pair):
    queue = pair.queue()
    hour = timedelta(hours=1)
    queue.push("App\\Jobs\\Fails", max_tries=1, backoff=9, retry_until=hour)

    events = pair.laravel.work()

    assert (len(told(events, "exception")), told(events, "failed")) == (1, [])
    assert pair.size() == 1


def test_timeout_that_is_to_fail_kills_laravels_worker_and_fails_the_job(pair):
    options = {"timeout": 1, "max_tries": 5, "fail_on_timeout": True}
    pair.queue().push("App\\Jobs\\Sleeps", {"seconds": 30.0}, **options)

    events = pair.laravel.work(code=-9)

    assert len(told(events, "sleeping")) == 1
    assert pair.size() == 0
    assert len(pair.failed()) == 1


def test_shown_name_is_what_laravel_shows(pair):
    pair.queue().push("App\\Jobs\\Plain", display_name="Daily report")

    [processed] = told(pair.laravel.work(), "processed")

    assert processed["class"] == "Daily report"


# -- what becomes of it, on both sides


def test_job_that_fails_for_good_in_php_runs_in_python_after_queue_retry(pair):
    uuid = pair.queue().push("App\\Jobs\\Fails", {"tries": 1, "backoff": None}, max_tries=1)
    pair.laravel.work()
    [row] = pair.failed()

    pair.laravel.artisan("queue:retry", uuid)
    [run] = pair.work()

    assert row["uuid"] == uuid
    assert row["exception"].startswith("RuntimeException: it fails, run 1")
    assert (run.attempt, run.data, run.ending) == (1, {"tries": 1, "backoff": None}, "processed")
    assert pair.failed() == []


def test_job_that_php_releases_has_its_next_attempts_where_it_is_taken(pair):
    pair.queue().push("App\\Jobs\\Releases", {"times": 1, "wait": 5}, max_tries=3)

    pair.laravel.work()
    pair.hurry()
    [run] = pair.work(pairs.fails)
    pair.hurry()
    events = pair.laravel.work()

    assert (run.attempt, run.ending) == (2, "retrying")
    assert [each["attempts"] for each in told(events, "processed")] == [3]


def test_job_whose_worker_in_php_is_killed_runs_in_python(pair):
    pair.queue().push("App\\Jobs\\Sleeps", {"seconds": 30.0}, timeout=1, max_tries=2)

    pair.laravel.work(code=-9, RETRY_AFTER=1)
    [run] = pair.work(ends=1, retry_after=1)

    assert (run.attempt, run.ending) == (2, "processed")
    assert pair.failed() == []


def test_chain_goes_to_and_fro(pair):
    first = "new Illuminate\\Foundation\\Bus\\PendingChain(new App\\Jobs\\Step(1), [%s])"
    rest = ", ".join(f"new App\\Jobs\\Step({n})" for n in (2, 3, 4))
    pair.ask.evaluate(f"({first % rest})->dispatch(); return 1;")

    steps = []
    for _ in range(2):
        steps += [got["+n"] for _, got in handled(pair.laravel.work("once"))]
        steps += [run.data["n"] for run in pair.work(ends=1)]

    assert steps == [1, 2, 3, 4]
    assert pair.size() == 0


def test_chain_may_begin_in_python(pair):
    then = pair.ask.serialize({"@class": "App\\Jobs\\Step", "+n": 2}).decode()
    last = pair.ask.serialize({"@class": "App\\Jobs\\Step", "+n": 3}).decode()
    data = {"n": 1, "chained": [then, last], "chainQueue": "steps"}

    pair.queue().push("App\\Jobs\\Step", data)
    first = pair.laravel.work()
    [second] = pair.work(queue="steps", ends=1)
    third = pair.laravel.work("stop-when-empty", "steps")

    assert handled(first) == [("Step", {"+n": 1})]
    assert second.data == {"n": 2}
    assert handled(third) == [("Step", {"+n": 3})]


def test_batch_that_a_failure_in_php_has_cancelled_still_counts_what_python_runs(pair):
    batch = pair.laravel.dispatch("batch", "BadInBatch", "InBatch", "InBatch")["batch"]

    pair.laravel.work("once")
    runs = pair.work()

    row = pair.ask.batch(batch)
    assert [run.data for run in runs] == [{"n": 2, "tries": 1}, {"n": 3, "tries": 1}]
    assert (row["pendingJobs"], row["failedJobs"]) == (1, 1)
    assert row["cancelledAt"] is not None


CALLS = """
from liteq import enqueue, task

@task(name="App\\\\Jobs\\\\Plain", max_retries=4)
def plain(name: str): ...

@task(name="App\\\\Jobs\\\\Fails", max_retries=0)
def fails(): ...

if __name__ == "__main__":
    plain.delay("one")
    enqueue([plain.job(name=str(n)) for n in range(2, 4)])
    fails.delay()
"""


def test_calls_of_tasks_are_jobs_of_laravel(pair, monkeypatch):
    monkeypatch.setenv("LITEQ_URL", pair.url())

    pair.script(CALLS)
    [payload, *_] = pair.payloads()
    events = pair.laravel.work()

    assert payload["maxTries"] == 5
    assert [got for name, got in handled(events) if name == "Plain"] == [
        {"+name": "one"},
        {"+name": "2"},
        {"+name": "3"},
    ]
    assert [each["attempts"] for each in told(events, "failed")] == [1]


@pytest.mark.parametrize("server", ["postgres_server", "mariadb_server"])
def test_queues_of_other_databases_are_shared_too(laravel, redis_server, request, need, server):
    server = request.getfixturevalue(server)
    need(f"pdo_{server.dialect}" in pairs.artisan.extensions(), f"PHP's pdo_{server.dialect}")
    laravel.use(server)
    pair = pairs.Pair(laravel, redis_server, "database", server)
    queue = pair.queue()

    queue.push("App\\Jobs\\Rich", RICH)
    queue.push("App\\Jobs\\Secret", {"card": "1"}, encrypted=True)
    queue.push("App\\Jobs\\Plain", delay=60)
    uuid = queue.push("App\\Jobs\\Fails", max_tries=1)
    events = laravel.work()
    laravel.artisan("queue:retry", uuid)
    [run] = pair.work()

    assert handled(events)[0] == ("Rich", IN_PHP)
    assert [name for name, _ in handled(events)] == ["Rich", "Secret", "Fails"]
    assert (run.name, run.ending) == ("App\\Jobs\\Fails", "processed")
    assert pair.size() == 1
    pair.close()


# -- what cannot be pushed: refused with its reason, and nothing of it is stored


BAD = [
    ("App\\Jobs\\Plain", {"name": {"deep": [1, 2**63]}},
     r"data\['name'\]\['deep'\]\[1\]: 9223372036854775808 has more than the 64 bits of PHP's int"),
    ("App\\Jobs\\Plain", {"name": object()}, r"data\['name'\]: PHP has nothing like object"),
    ("App\\Jobs\\Plain", {"name": "\ud800"}, r"data\['name'\]: text with half a surrogate pair"),
    ("App\\Jobs\\Plain", {"name": b"\xff"}, "bytes that are no UTF-8 text, which Laravel's JSON"),
    ("App\\Jobs\\Plain", {"name": {"7": 1, 7: 2}}, "two of its keys are one in PHP, as '7' and 7"),
    ("App\\Jobs\\Plain", {3: 1}, r"data\[3\]: the name of a property is text"),
    ("App\\Jobs\\Plain", [1], r"must be a dict of the job's properties, not \[1\]"),
    ("no class", {}, "'no class' is no name of a PHP class"),
    ("App\\Handlers\\Report@build", {"a": float("nan")}, "cannot be written as JSON"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "data", "reason"), BAD)
def test_what_php_cannot_hold_is_refused_when_it_is_pushed(pair, name, data, reason):
    queue = pair.queue()

    with pytest.raises(EncodingError, match=reason):
        queue.push(name, data)
    with pytest.raises(EncodingError, match=reason):
        queue.bulk([("App\\Jobs\\Plain", {"name": "good"}), (name, data)])

    assert queue.size() == (0, 0, 0)


def test_awaited_push_of_what_php_cannot_hold_is_refused(pair):
    async def push():
        async with pair.aqueue() as queue:
            with pytest.raises(EncodingError, match="has more than the 64 bits"):
                await queue.push("App\\Jobs\\Plain", {"name": -(2**63) - 1})
            return await queue.size()

    assert asyncio.run(push()) == (0, 0, 0)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"delay": -1}, "delay=-1 must be seconds, 0 or more"),
        ({"backoff": [1, -2]}, r"backoff=\[1, -2\] must be whole seconds"),
    ],
)
def test_option_that_makes_no_sense_is_refused(pair, options, reason):
    queue = pair.queue()

    with pytest.raises(ValueError, match=reason):
        queue.push("App\\Jobs\\Plain", **options)

    assert queue.size() == (0, 0, 0)


def test_nothing_is_pushed_in_the_clear_that_is_to_be_encrypted(pair, monkeypatch):
    monkeypatch.delenv("APP_KEY", raising=False)
    monkeypatch.delenv("LARAVEL_APP_KEY", raising=False)
    queue = pair.queue(app_key=None)

    with pytest.raises(ValueError, match="cannot be pushed encrypted without the application's"):
        queue.push("App\\Jobs\\Secret", {"card": "4242"}, encrypted=True)

    assert queue.size() == (0, 0, 0)


# -- what cannot listen: nothing is taken


def test_listening_without_a_handler_is_refused_and_takes_nothing(pair):
    pair.ask.push("Plain")

    async def listen():
        async with pair.aqueue() as queue:
            await queue.listen(stop_when_empty=True)

    with pytest.raises(ValueError, match="queue default has no handler, so nothing is taken"):
        pair.queue().listen(stop_when_empty=True)
    with pytest.raises(ValueError, match="queue default has no handler, so nothing is taken"):
        asyncio.run(listen())

    assert handled(pair.laravel.work()) == [("Plain", {"+name": "plain"})]


def test_client_of_the_other_kind_is_refused(redis_client):
    awaited = redis.asyncio.Redis()

    with pytest.raises(ValueError, match="Queue needs a client that blocks"):
        Queue(awaited)
    with pytest.raises(ValueError, match=r"AsyncQueue needs redis.asyncio.Redis"):
        AsyncQueue(redis_client)


@pytest.mark.parametrize("client", [None, "redis://localhost", object()])
def test_what_is_no_client_is_refused(client):
    with pytest.raises(ValueError, match=r"is no Redis client; give redis\.Redis"):
        Queue(client)


def test_key_that_is_no_key_is_refused(redis_client):
    with pytest.raises(ValueError, match="APP_KEY has 5 bytes, and AES-256-CBC takes 32"):
        Queue(redis_client, app_key="short")


def test_place_of_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="oracle"):
        database_place("oracle://localhost/x")


def test_payload_is_the_same_json_as_laravels_own(pair):
    pair.ask.push("Plain", ["x"])
    pair.queue().push("App\\Jobs\\Plain", {"name": "x"})

    theirs, ours = pair.payloads()

    assert theirs.keys() <= ours.keys()
    same = ("displayName", "job", "maxTries", "maxExceptions", "failOnTimeout", "backoff",
            "timeout", "retryUntil", "attempts")  # fmt: skip
    assert {name: ours.get(name) for name in same} == {name: theirs.get(name) for name in same}
    assert ours["data"]["commandName"] == theirs["data"]["commandName"]
    assert [name for name in json.loads(json.dumps(ours)) if name not in theirs] == [
        "createdAt",
        "delay",
    ]
