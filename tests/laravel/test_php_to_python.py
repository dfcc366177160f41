"""What a real Laravel dispatches, run by Python: nothing is lost on the way, and Laravel's own
rules hold. What Python pushes is test_python_to_php's."""

import asyncio
import json
import threading
import time
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

import pairs
import pytest
from pairs import handled, told

from lara_queue import Cancel, Retry
from lara_queue import database as database_place

CHAIN = "(new Illuminate\\Foundation\\Bus\\PendingChain({}, [{}]))->dispatch(); return 1;"
OTHER_KEY = "base64:ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="


# -- what arrives


RICH = {
    "text": "héllo 🎉 日本",
    "integer": 2**63 - 1,
    "float": 0.1,
    "whole": 1.0,
    "yes": True,
    "nothing": None,
    "list": [1, "two", 3.5, [True, False], []],
    "map": {"a": 1, "b": {"c": None}},
    "numbered": {"7": "seven", "x": "ex"},
    "shielded": {"token": "t0ken"},
    "hidden": -5,
    "typed": 42,
    "maybe": None,
    "address": {
        "city": "Zürich",
        "zip": "8001",
        "code": "s3cret",
        "next": {"city": "Zürich", "zip": "8001", "code": "s3cret", "next": None},
    },
    "twice": {"city": "Zürich", "zip": "8001", "code": "s3cret", "next": None},
    "suit": "Hearts",
    "mood": "Wild",
    "moment": datetime(2026, 1, 2, 3, 4, 5, 678901, ZoneInfo("Europe/Paris")),
    "carbon": datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc),
    "collection": ["a", "b", 3],
}


def test_property_of_every_kind_arrives_exactly(pair):
    pair.ask.push("Rich")

    [run] = pair.work()

    assert (run.name, run.attempt, run.ending) == ("App\\Jobs\\Rich", 1, "processed")
    assert run.data == RICH
    assert {name: type(value) for name, value in run.data.items()} == {
        name: type(value) for name, value in RICH.items()
    }
    assert run.data["twice"] is run.data["address"]["next"]
    assert pair.size() == 0


def test_typed_properties_arrive_exactly(pair):
    pair.ask.push("Typed", ["b@example.org", -1, [[], {"a": []}], 1e300])

    [run] = pair.work()

    assert run.data == {
        "to": "b@example.org",
        "count": -1,
        "rows": [[], {"a": []}],
        "price": 1e300,
        "address": None,
        "when": datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc),
        "suit": "Spades",
        "extra": "default",
    }


def test_awaited_queue_gets_the_same(pair):
    pair.ask.push("Rich")

    [run] = pair.awork()

    assert (run.data, run.ending) == (RICH, "processed")
    assert pair.size() == 0


def test_bulk_arrives_whole_and_in_order(pair):
    pair.laravel.dispatch("bulk", 50)

    runs = pair.work()

    assert [run.data["n"] for run in runs] == list(range(50))


def test_delayed_job_runs_when_it_is_due_and_not_before(pair):
    began = time.time()
    pair.ask.later(2, "Plain", ["late"])

    early = pair.work()
    [run] = pair.work(ends=1)

    assert early == []
    assert run.data == {"name": "late"}
    assert int(began) + 2 <= run.at < began + 3.5


def test_queues_are_emptied_in_their_order(pair):
    for name, queue in (("d1", "default"), ("h1", "high"), ("d2", "default"), ("h2", "high")):
        pair.ask.push("Plain", [name], queue)

    runs = pair.work(queue="high,default")

    assert [run.data["name"] for run in runs] == ["h1", "h2", "d1", "d2"]


@pytest.mark.parametrize(
    ("given", "name"),
    [("App\\Handlers\\Report@build", "App\\Handlers\\Report@build"),
     ("App\\Handlers\\Report", "App\\Handlers\\Report")],
)  # fmt: skip
def test_string_job_brings_its_free_data(pair, given, name):
    data = {"a": 1, "b": 'é/"', "c": [1.5, None, {"d": "x"}]}
    pair.laravel.dispatch("string", given, json.dumps(data))

    [run] = pair.work()

    assert (run.name, run.data) == (name, data)


def test_listener_is_run_by_the_handler_of_its_class(pair):
    pair.laravel.dispatch("listener", 5)
    queue = pair.queue()
    came = []
    queue.handler("App\\Listeners\\SendReceipt")(came.append)

    queue.listen(stop_when_empty=True)

    [job] = came
    assert job["name"] == "Illuminate\\Events\\CallQueuedListener"
    assert job["data"]["class"] == "App\\Listeners\\SendReceipt"
    assert job["data"]["data"] == [{"number": 5}]


def test_models_arrive_as_what_they_are_found_by(pair):
    pair.laravel.dispatch("model")

    [run] = pair.work()

    assert run.data["invoice"]["class"] == "App\\Invoice"
    assert (run.data["invoice"]["id"], run.data["invoices"]["id"]) == (1, [1, 2])


# -- encrypted


def test_encrypted_job_is_read_with_the_key(pair):
    pair.ask.push("Secret", ["4242 4242"])

    [text] = [payload["data"]["command"] for payload in pair.payloads()]
    [run] = pair.work()

    assert "4242" not in text
    assert run.data == {"card": "4242 4242"}


def test_encrypted_job_is_read_with_a_former_key(pair):
    pair.ask.push("Secret")

    [run] = pair.work(app_key=OTHER_KEY, previous_keys=[pairs.artisan.APP_KEY])

    assert run.data == {"card": "4242"}


# -- unique


def dispatch(pair, class_name, *given):
    """As an application does it: a unique job that is on its way is not pushed again."""
    pair.ask.evaluate(f"App\\Jobs\\{class_name}::dispatch(...{json.dumps(given)}); return 1;")


@pytest.mark.parametrize(
    ("class_name", "handler"), [("Unique", None), ("UniqueFails", pairs.fails)]
)
def test_lock_of_a_unique_job_is_released_once_it_has_ended_in_python(pair, class_name, handler):
    dispatch(pair, class_name, 7)
    dispatch(pair, class_name, 7)
    before = pair.size()
    queue = pair.queue()
    queue.handler(f"App\\Jobs\\{class_name}", unique_id=lambda data: f"u{data['id']}")(
        handler or (lambda job: None)
    )

    queue.listen(stop_when_empty=True)
    dispatch(pair, class_name, 7)

    assert (before, pair.size()) == (1, 1)
    assert len(pair.failed()) == (1 if handler else 0)


def test_lock_of_a_job_that_is_unique_until_processing_is_released_too(pair):
    dispatch(pair, "UniqueUntilProcessing")
    dispatch(pair, "UniqueUntilProcessing")
    before = pair.size()
    queue = pair.queue()
    queue.handler(unique_id=lambda data: f"x{data['id']}")(lambda job: None)

    queue.listen(stop_when_empty=True)
    dispatch(pair, "UniqueUntilProcessing")

    assert (before, pair.size()) == (1, 1)


def test_lock_of_a_unique_job_that_cannot_be_known_stays(pair):
    dispatch(pair, "Unique", 7)

    [run] = pair.work()
    dispatch(pair, "Unique", 7)

    assert (run.ending, pair.size()) == ("processed", 0)


def test_lock_of_a_unique_job_is_kept_while_it_is_to_run_again(pair):
    dispatch(pair, "Unique", 7)
    queue = pair.queue()
    queue.handler("App\\Jobs\\Unique", unique_id=lambda data: f"u{data['id']}")(pairs.fails)

    queue.listen(stop_when_empty=True)
    dispatch(pair, "Unique", 7)

    assert pair.size() == 1


# -- options


def test_options_of_a_job_are_its_rules_in_python(pair):
    pair.ask.push("Options")

    [first] = pair.work(pairs.fails)
    [wait] = pair.waits()
    pair.hurry()
    [second] = pair.work(pairs.fails)

    # backoff [10, 20, 30]; maxExceptions 2 comes before tries 3 and retryUntil in 2033
    assert (first.name, first.ending, second.ending) == ("App\\Jobs\\Options", "retrying", "failed")
    assert 8.5 < wait <= 11
    assert [row["queue"] for row in pair.failed()] == ["default"]


def test_list_of_backoffs_gives_the_wait_after_each_failure(pair):
    pair.ask.push("Fails", [5, "10,20"])

    waits = []
    for _ in range(4):
        pair.work(pairs.fails)
        waits += pair.waits()
        pair.hurry()
    [last] = pair.work(pairs.fails)

    assert [round(wait / 10) * 10 for wait in waits] == [10, 20, 20, 20]
    assert (last.attempt, last.ending) == (5, "failed")


def test_job_without_tries_is_tried_as_often_as_the_queue_says(pair):
    pair.ask.push("Plain")

    [run] = pair.work(pairs.fails, max_retries=0)

    assert run.ending == "failed"


def test_job_past_its_last_moment_is_not_run(pair):
    pair.ask.push("Plain")
    [payload] = pair.payloads()
    pair.ask.clear()
    pair.ask.push_raw(json.dumps(payload | {"retryUntil": int(time.time()) - 5}))

    [run] = pair.work()

    assert (run.ending, run.data) == ("failed", None)
    assert "came after its last moment" in pair.failed()[0]["exception"]


@pytest.mark.parametrize("first", ["PHP", "Python"])
def test_exceptions_are_counted_on_both_sides_together(pair, first):
    pair.ask.push("Fragile")  # may raise twice, of ten runs

    if first == "PHP":
        pair.laravel.work("once")
        [run] = pair.work(pairs.fails, ends=1)
        assert (run.attempt, run.ending) == (2, "failed")
    else:
        [run] = pair.work(pairs.fails, ends=1)
        assert run.ending == "retrying"
        pair.hurry()
        events = pair.laravel.work("once")
        assert [each["attempts"] for each in told(events, "failed")] == [2]

    assert len(pair.failed()) == 1
    assert pair.size() == 0


# -- failing


def test_job_that_fails_in_php_has_its_next_attempt_in_python(pair):
    pair.ask.push("Fails", [2, "5"])

    events = pair.laravel.work()
    [wait] = pair.waits()
    pair.hurry()
    [run] = pair.work()

    assert [each["attempts"] for each in told(events, "exception")] == [1]
    assert 3.5 < wait <= 6
    assert (run.attempt, run.ending) == (2, "processed")


def test_job_that_fails_in_python_has_its_next_attempt_in_php(pair):
    pair.ask.push("Fails", [2, "5"])

    [run] = pair.work(pairs.fails)
    [wait] = pair.waits()
    pair.hurry()
    events = pair.laravel.work()

    assert (run.attempt, run.ending) == (1, "retrying")
    assert 3.5 < wait <= 6
    assert [each["attempts"] for each in told(events, "failed")] == [2]


def test_job_that_failed_for_good_in_python_can_be_retried_with_laravels_command(pair):
    pair.ask.push("Fails", [1], "reports")

    pair.work(pairs.fails, "reports")
    [row] = pair.failed()
    pair.laravel.artisan("queue:retry", "all")
    left = pair.failed()
    [run] = pair.work(queue="reports")

    assert (row["connection"], row["queue"]) == (pair.driver, "reports")
    assert row["uuid"] == json.loads(row["payload"])["uuid"]
    assert row["exception"].startswith("RuntimeError: no luck in Python\n")
    assert 'raise RuntimeError("no luck in Python")' in row["exception"]
    assert left == []
    assert (run.attempt, run.data, run.ending) == (1, {"tries": 1, "backoff": [1]}, "processed")


def test_job_that_failed_for_good_in_python_can_be_run_by_php_then(pair):
    pair.ask.push("Plain", ["hé"])
    pair.work(pairs.fails, max_retries=0)

    pair.laravel.artisan("queue:retry", "all")
    events = pair.laravel.work()

    assert handled(events) == [("Plain", {"+name": "hé"})]


def test_wait_after_a_failure_is_waited_for(pair):
    pair.ask.push("Fails", [2, "2"])

    first, second = pair.work(pairs.fails, ends=2)

    assert (first.attempt, second.attempt, second.ending) == (1, 2, "failed")
    assert 2 <= second.at - first.at < 4


def test_job_that_ends_itself_in_python_is_on_record_as_failed(pair):
    batch = pair.laravel.dispatch("batch", "InBatch", "InBatch", ALLOW_FAILURES="1")["batch"]

    def ends_itself(job):
        raise Cancel("the order is gone")

    [run] = pair.work(ends_itself, ends=1)
    [row] = pair.failed()
    pair.laravel.artisan("queue:retry-batch", batch)
    pair.laravel.work()

    assert (run.attempt, run.ending) == (1, "failed")
    assert "the order is gone" in row["exception"]
    assert counters(pair, batch)[1] == 0


def test_released_job_goes_on_in_php_with_its_next_attempt(pair):
    pair.ask.push("Releases", [0])

    def later(job):
        raise Retry("not yet", after=5)

    [run] = pair.work(later)
    early = pair.laravel.work()
    [wait] = pair.waits()
    pair.hurry()
    events = pair.laravel.work()

    assert (run.ending, told(early)) == ("retrying", [])
    assert 3.5 < wait <= 6
    [processing] = told(events, "processing")
    assert processing["attempts"] == 2
    assert [name for name, _ in handled(events)] == ["Releases"]


def test_job_that_php_releases_has_its_next_attempt_in_python(pair):
    pair.ask.push("Releases", [1, 5])

    pair.laravel.work()
    pair.hurry()
    [run] = pair.work()

    assert (run.attempt, run.data) == (2, {"tries": 5, "times": 1, "wait": 5})


# -- timed out


def sleep(job):
    time.sleep(job["data"]["seconds"])


async def asleep(job):
    await asyncio.sleep(job["data"]["seconds"])


@pytest.mark.parametrize("kind", ["blocking", "awaited"])
def test_run_that_takes_too_long_is_stopped_and_its_job_runs_again_in_php(pair, kind):
    pair.ask.push("Sleeps", [30, 1, 2])
    began = time.time()

    [run] = pair.work(sleep) if kind == "blocking" else pair.awork(asleep)
    wait = pair.waits()
    pair.hurry()
    pair.laravel.work(code=-9)

    assert (run.attempt, run.ending) == (1, "retrying")
    assert run.error.startswith("TaskTimeout")
    assert 1 <= run.at - began < 4
    assert len(wait) == 1
    [row] = pair.failed()  # PHP's run was the last that it may have
    assert "MaxAttemptsExceeded" in row["exception"]


def test_run_that_takes_too_long_is_its_jobs_last_one_where_the_job_says_so(pair):
    pair.ask.push("Sleeps", [30, 1, 5, 1])

    [run] = pair.work(sleep)

    assert (run.attempt, run.ending) == (1, "failed")
    [row] = pair.failed()
    assert row["exception"].startswith("TaskTimeout")


PROGRAM = """
import lara_queue, redis, time

def sleep(job):
    while job["data"]["seconds"]:  # nothing ends this but a kill
        try:
            time.sleep(30)
        except BaseException:
            pass

if __name__ == "__main__":
    place = {place}
    queue = lara_queue.Queue(place, processes=2, connection={driver!r}, failed={url!r})
    queue.handler(sleep)
    queue.listen(stop_when_empty=True)
"""


def test_process_that_takes_too_long_is_killed(pair):
    pair.ask.push("Sleeps", [30, 1, 1])
    pair.ask.push("Sleeps", [0, 1, 1])
    url = pair.redis_url if pair.driver == "redis" else pair.database_url
    place = "redis.Redis.from_url" if pair.driver == "redis" else "lara_queue.database"
    program = PROGRAM.format(place=f"{place}({url!r})", driver=pair.driver, url=pair.database_url)

    pair.script(program)

    [row] = pair.failed()
    assert row["exception"].startswith("TaskTimeout")
    assert pair.size() == 0


# -- chains


def steps(events):
    return [each["got"]["+n"] for each in told(events, "handled")]


@pytest.mark.parametrize("ours", [1, 2, 3])
def test_chain_goes_on_from_python_to_php(pair, ours):
    pair.laravel.dispatch("chain")

    runs = pair.work(ends=ours)
    events = pair.laravel.work()

    assert [run.data for run in runs] == [{"n": n} for n in range(1, ours + 1)]
    assert steps(events) == list(range(ours + 1, 4))
    assert pair.size() == 0


def test_chain_goes_on_in_the_queue_that_it_names(pair):
    pair.laravel.dispatch("chain", CHAIN_QUEUE="steps")

    pair.work(queue="steps", ends=1)
    there, elsewhere = pair.size("steps"), pair.size()
    events = pair.laravel.work("stop-when-empty", "steps")

    assert (there, elsewhere) == (1, 0)
    assert steps(events) == [2, 3]


@pytest.mark.parametrize("delay", ["30", "Carbon\\Carbon::now()->addSeconds(30)"])
def test_next_job_of_a_chain_waits_for_its_own_delay(pair, delay):
    second = f"(new App\\Jobs\\Step(2))->delay({delay}), new App\\Jobs\\Step(3)"
    pair.ask.evaluate(CHAIN.format("new App\\Jobs\\Step(1)", second))

    [run] = pair.work()
    [wait] = pair.waits()
    pair.hurry()
    events = pair.laravel.work()

    assert run.data == {"n": 1}
    assert 28.5 < wait <= 31
    assert steps(events) == [2, 3]


def test_chain_with_an_encrypted_head_goes_on(pair):
    pair.ask.evaluate(CHAIN.format("new App\\Jobs\\Secret('1')", "new App\\Jobs\\Step(2)"))

    [run] = pair.work(ends=1)
    [follower] = pair.payloads()
    events = pair.laravel.work()

    assert run.data == {"card": "1"}
    assert not follower["data"]["command"].startswith("O:")  # as secret as its head
    assert steps(events) == [2]


def test_chain_ends_where_a_job_fails_in_python(pair):
    second = "new App\\Jobs\\BadStep(2), new App\\Jobs\\Step(3)"
    pair.ask.evaluate(CHAIN.format("new App\\Jobs\\Step(1)", second))

    def second_fails(job):
        if job["data"]["n"] == 2:
            raise RuntimeError("step 2 fails")

    runs = pair.work(second_fails)

    # `tries` is a property of the second's class; as the first of a chain it is written out
    assert [run.ending for run in runs] == ["processed", "failed"]
    assert pair.size() == 0
    assert len(pair.failed()) == 1


def test_chain_that_fails_in_php_still_has_its_catch_after_a_step_in_python(pair):
    pair.laravel.dispatch("bad-chain")

    pair.work(ends=1)
    events = pair.laravel.work()

    assert [each["message"] for each in told(events, "caught")] == ["step 2 fails"]
    assert steps(events) == [2]


# -- batches


def counters(pair, batch):
    row = pair.ask.batch(batch)
    return row["totalJobs"], row["pendingJobs"], row["failedJobs"]


def test_batch_counts_the_jobs_of_both_sides(pair):
    batch = pair.laravel.dispatch("batch", "InBatch", "InBatch", "InBatch")["batch"]

    pair.work(ends=1)
    after_one = counters(pair, batch)
    events = pair.laravel.work()

    assert after_one == (3, 2, 0)
    assert counters(pair, batch) == (3, 0, 0)
    assert [each["event"] for each in told(events, "then", "finally")] == ["then", "finally"]


def test_batch_is_finished_when_python_runs_its_last_job(pair):
    batch = pair.laravel.dispatch("batch", "InBatch", "InBatch")["batch"]
    pair.laravel.work("once")
    before = pair.ask.batch(batch)

    pair.work()

    after = pair.ask.batch(batch)
    assert (before["pendingJobs"], before["finishedAt"]) == (1, None)
    assert (after["pendingJobs"], after["failedJobs"], after["cancelledAt"]) == (0, 0, None)
    assert after["finishedAt"] is not None


@pytest.mark.parametrize("allowed", [False, True])
def test_job_that_fails_in_python_cancels_its_batch_unless_failures_are_allowed(pair, allowed):
    env = {"ALLOW_FAILURES": "1"} if allowed else {}
    batch = pair.laravel.dispatch("batch", "InBatch", "InBatch", **env)["batch"]

    [run] = pair.work(pairs.fails, ends=1)
    events = pair.laravel.work()

    row = pair.ask.batch(batch)
    assert run.ending == "failed"
    assert counters(pair, batch)[2] == 1
    assert (row["cancelledAt"] is None) == allowed
    assert len(told(events, "skipped")) == (0 if allowed else 1)
    assert len(told(events, "handled")) == (1 if allowed else 0)


@pytest.mark.parametrize("ours", [1, 2, 3])
def test_chain_within_a_batch_is_counted_on_both_sides(pair, ours):
    chain = "[new App\\Jobs\\InBatch(1), new App\\Jobs\\InBatch(2)], new App\\Jobs\\InBatch(3)"
    batch = pair.ask.evaluate(f"return app('bus')->batch([{chain}])->dispatch()->id;")

    runs = pair.work(ends=ours)
    after = counters(pair, batch)
    events = pair.laravel.work()

    assert after == (3, 3 - ours, 0)
    assert sorted([run.data["n"] for run in runs] + steps(events)) == [1, 2, 3]
    assert counters(pair, batch) == (3, 0, 0)


def test_failed_job_of_a_batch_can_be_retried_and_ends_it(pair):
    batch = pair.laravel.dispatch("batch", "InBatch", ALLOW_FAILURES="1")["batch"]
    pair.work(pairs.fails)
    pair.laravel.artisan("queue:retry-batch", batch)

    pair.work()

    row = pair.ask.batch(batch)
    assert (row["pendingJobs"], row["finishedAt"] is not None) == (0, True)
    assert pair.failed() == []


# -- signals


def test_listening_queue_ends_soon_after_queue_restart(pair):
    queue = pair.queue()
    queue.handler(lambda job: None)
    told_at = []

    def restart():
        pair.laravel.artisan("queue:restart")
        told_at.append(time.monotonic())

    guard = threading.Timer(10, queue.stop)
    for timer in (threading.Timer(0.2, restart), guard):
        timer.start()
    queue.listen()
    guard.cancel()

    assert time.monotonic() - told_at[0] < 1.5


def test_awaited_queue_ends_after_queue_restart_with_its_running_job_done(pair):
    pair.ask.push("Plain")

    async def restarted(job):
        await asyncio.to_thread(pair.laravel.artisan, "queue:restart")
        await asyncio.sleep(1)

    runs = pair.awork(restarted, ends=2)  # which never come

    assert [run.ending for run in runs] == ["processed"]


def test_paused_queue_is_left_alone_until_it_is_resumed(pair):
    key = f"illuminate:queue:paused:{pair.driver}:default"
    pair.ask.push("Plain", ["waits"])
    pair.ask.push("Plain", ["runs"], "other")
    pair.ask.cache(key, True)  # as `php artisan queue:pause` of Laravel 12.40 does it
    seen = []

    def resume():
        seen.append(pair.size())
        pair.ask.evaluate(f"app('cache.store')->forget('{key}'); return 1;")

    threading.Timer(1.5, resume).start()
    runs = pair.work(queue="default,other", ends=2)

    assert seen == [1]
    assert [run.data["name"] for run in runs] == ["runs", "waits"]


def test_queue_that_is_told_to_stop_as_a_job_has_ended_takes_no_other(pair):
    pair.laravel.dispatch("bulk", 3)

    runs = pair.work(ends=1)
    events = pair.laravel.work()

    assert [run.data["n"] for run in runs] == [0]
    assert steps(events) == [1, 2]
    assert [each["attempts"] for each in told(events, "processed")] == [1, 1]


# -- as tasks of LiteQ


APP = """
import time
from datetime import datetime
from lara_queue import unique_by
from liteq import task

def note(*what):
    with open("notes", "a") as notes:
        print(*what, file=notes)

@task(name="App\\\\Jobs\\\\Rich")
def rich(text: str, hidden: int, moment: datetime, numbered: dict, absent: str = "default"):
    note("rich", text, hidden, moment.isoformat(), numbered["7"], absent)

@task(name="App\\\\Jobs\\\\Secret")
def secret(card: str):
    note("secret", card)

@task(name="App\\\\Jobs\\\\Unique")
def unique(id: int):
    note("unique", id)

unique_by("App\\\\Jobs\\\\Unique", lambda data: f"u{data['id']}")

@task(name="App\\\\Jobs\\\\Step")
def step(n: int):
    note("step", n)

@task(name="App\\\\Jobs\\\\InBatch")
def in_batch(n: int):
    note("in batch", n)

@task(name="App\\\\Handlers\\\\Report@build")
def report(a: int, b: str):
    note("report", a, b)

@task(name="App\\\\Listeners\\\\SendReceipt")
def receipt(data: list):
    note("receipt", data[0]["number"])

@task(name="App\\\\Jobs\\\\Sleeps")
def sleeps(seconds: float):
    while True:
        try:
            time.sleep(seconds)
        except BaseException:
            pass

@task(name="App\\\\Jobs\\\\Fails")
def fails():
    raise ValueError("no luck in a task")
"""


def test_tasks_named_like_job_classes_run_what_laravel_dispatches(pair):
    pair.ask.push("Rich")
    pair.ask.push("Secret")
    dispatch(pair, "Unique", 7)
    pair.laravel.dispatch("chain")
    batch = pair.laravel.dispatch("batch", "InBatch", "InBatch")["batch"]
    pair.laravel.dispatch("string")
    pair.laravel.dispatch("listener", 5)
    pair.ask.push("Sleeps", [30, 1, 1], "slow")
    pair.ask.push("Fails", [1, "1"], "slow")
    pair.ask.push("Modelled", [None], "slow")

    pair.liteq(APP, queues="default,slow")
    dispatch(pair, "Unique", 7)

    notes = (pair.laravel.folder / "notes").read_text().splitlines()
    assert sorted(notes) == sorted(
        [
            "rich héllo 🎉 日本 -5 2026-01-02T03:04:05.678901+01:00 seven default",
            "secret 4242",
            "unique 7",
            *("step 1", "step 2", "step 3"),
            *("in batch 1", "in batch 2"),
            'report 1 é/"',
            "receipt 5",
        ]
    )
    assert counters(pair, batch) == (2, 0, 0)
    errors = sorted(row["exception"].partition(":")[0] for row in pair.failed())
    assert errors == ["TaskNotFound", "TaskTimeout", "ValueError"]
    assert pair.size() == 1  # the unique job, whose lock was free again


# -- what nobody can run: nothing of it is lost


def test_closure_fails_with_its_reason_and_runs_in_php_afterwards(pair):
    pair.laravel.dispatch("closure", "caught it")

    [run] = pair.work()
    [row] = pair.failed()
    pair.laravel.artisan("queue:retry", "all")
    events = pair.laravel.work()

    assert (run.attempt, run.ending, run.data) == (1, "failed", None)
    assert "this job is a PHP closure, which only PHP can run" in row["exception"]
    assert [each["got"] for each in told(events, "handled")] == ["caught it"]


def test_job_of_a_class_that_nobody_handles_fails_with_its_reason(pair):
    pair.ask.push("Plain")
    queue = pair.queue(max_retries=0)
    queue.handler("App\\Jobs\\Rich")(lambda job: None)

    queue.listen(stop_when_empty=True)
    [row] = pair.failed()
    pair.laravel.artisan("queue:retry", "all")

    assert "no handler for App\\Jobs\\Plain (handled: App\\Jobs\\Rich)" in row["exception"]
    assert handled(pair.laravel.work()) == [("Plain", {"+name": "plain"})]


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (OTHER_KEY, "APP_KEY does not fit: the text was encrypted with another key"),
        (None, "the command of App\\Jobs\\Secret is encrypted, or is no object; to read it, give"),
    ],
)
def test_encrypted_job_without_its_key_fails_with_its_reason(pair, monkeypatch, key, reason):
    monkeypatch.delenv("APP_KEY", raising=False)
    monkeypatch.delenv("LARAVEL_APP_KEY", raising=False)
    pair.ask.push("Secret")

    [run] = pair.work(app_key=key)
    [row] = pair.failed()
    pair.laravel.artisan("queue:retry", "all")
    [again] = pair.work()

    assert (run.ending, run.data) == ("failed", None)
    assert reason in row["exception"]
    assert again.data == {"card": "4242"}


def test_command_that_cannot_be_decoded_fails_with_its_reason(pair):
    pair.ask.push("Plain")
    [payload] = pair.payloads()
    pair.ask.clear()
    broken = payload["data"]["command"][:-10]
    pair.put(json.dumps(payload | {"data": payload["data"] | {"command": broken}, "attempts": 0}))

    [run] = pair.work()

    assert (run.ending, run.data) == ("failed", None)
    [row] = pair.failed()
    assert row["exception"].startswith("UnreadablePayload: ")
    assert json.loads(row["payload"])["data"]["command"] == broken


def test_text_that_is_not_json_is_kept(pair):
    pair.put("{not json")
    pair.ask.push("Plain")

    runs = pair.work()

    assert runs[-1].data == {"name": "plain"}
    if pair.driver == "redis":
        [letter] = pair.queue().dead_letters()
        assert letter.payload == "{not json"
        assert letter.error.startswith("the payload is not JSON: ")
    else:
        [row] = pair.failed()
        assert row["payload"] == "{not json"
        assert "the payload '{not json' is not JSON: " in row["exception"]


def test_payload_without_attempts_is_kept(laravel, redis_server):
    pair = pairs.Pair(laravel, redis_server, "redis")
    pair.put('{"uuid":"u1","job":"X@y","data":[]}')

    assert pair.work() == []

    [letter] = pair.queue().dead_letters()
    assert letter.payload == '{"uuid":"u1","job":"X@y","data":[]}'
    assert letter.error == "the payload has no number of attempts"
    assert pair.queue().retry_dead_letter(letter)
    assert [run.name for run in pair.work()] == ["X@y"]
    pair.close()


def test_failure_without_a_place_for_it_is_kept_as_a_dead_letter(laravel, redis_server):
    pair = pairs.Pair(laravel, redis_server, "redis")
    pair.ask.push("Fails", [1])

    pair.work(pairs.fails, failed=None)
    [letter] = pair.queue().dead_letters()
    again = pair.queue().retry_dead_letter(letter)
    [run] = pair.work()

    assert letter.error.startswith("RuntimeError: no luck in Python\n")
    assert again
    assert (run.attempt, run.ending) == (1, "processed")
    assert pair.failed() == []
    pair.close()


def test_failure_that_cannot_be_put_on_record_is_kept_as_a_dead_letter(laravel, redis_server):
    pair = pairs.Pair(laravel, redis_server, "redis")
    pair.ask.push("Fails", [1])

    [run] = pair.work(pairs.fails, failed="sqlite:////no/such/folder/x.sqlite")

    [letter] = pair.queue().dead_letters()
    assert run.ending == "failed"
    assert letter.error.startswith("RuntimeError: no luck in Python\n")
    pair.close()


# -- other databases


@pytest.mark.parametrize("server", ["postgres_server", "mariadb_server"])
def test_queues_of_other_databases_are_shared_too(laravel, redis_server, request, need, server):
    server = request.getfixturevalue(server)
    need(f"pdo_{server.dialect}" in pairs.artisan.extensions(), f"PHP's pdo_{server.dialect}")
    laravel.use(server)
    pair = pairs.Pair(laravel, redis_server, "database", server)
    batch = laravel.dispatch("batch", "InBatch", "InBatch", ALLOW_FAILURES=1)["batch"]
    laravel.dispatch("chain")
    pair.ask.push("Rich")

    runs = pair.work(lambda job: job["data"].get("n") == 2 and pairs.fails(job), max_retries=0)
    failed = pair.failed()
    laravel.artisan("queue:retry", "all")
    events = laravel.work()

    assert [run.ending for run in runs].count("processed") == 3
    assert RICH in [run.data for run in runs]
    names = sorted(json.loads(row["payload"])["displayName"] for row in failed)
    assert names == ["App\\Jobs\\InBatch", "App\\Jobs\\Step"]
    assert sorted(steps(events)) == [2, 2, 3]
    assert counters(pair, batch) == (2, 0, 1)
    pair.close()


def test_place_without_a_scheme_that_is_known_is_refused():
    with pytest.raises(ValueError, match="oracle"):
        database_place("oracle://x")
