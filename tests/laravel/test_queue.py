"""Queue: the blocking front door, on a real Redis. What PHP makes of it is tested elsewhere."""

import contextlib
import json
import logging
import os
import threading
import time
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest
import redis

import lara_queue
from lara_queue import Cancel, Queue, Retry, RetryPolicy

READY = "laravel_database_queues:{}"
AT_ONCE = RetryPolicy("fixed", first=0)


@pytest.fixture
def client(redis_server):
    """A client as most programs have it: replies are bytes."""
    with redis_server.client(decode_responses=False) as client:
        yield client


def payloads(client, queue="python"):
    return [json.loads(text) for text in client.lrange(READY.format(queue), 0, -1)]


def delayed(client, queue="python"):
    found = client.zrange(READY.format(queue) + ":delayed", 0, -1, withscores=True)
    return [score for _, score in found]


def until_ended(queue, number):
    """Listen until so many jobs have come to their end, done or failed."""
    ended = []

    def count(event):
        ended.append(event)
        if len(ended) == number:
            queue.stop()

    queue.on("processed", count)
    queue.on("failed", count)
    queue.listen()
    return ended


def handled(queue):
    """What a handler of all jobs gets, in order."""
    jobs = []
    queue.handler(jobs.append)
    return jobs


class TestHandlers:
    def test_a_handler_of_all_jobs_gets_name_and_data_and_no_more(self, client):
        queue = Queue(client, queue="python")
        jobs = handled(queue)
        queue.push("App\\Jobs\\One", {"n": 1})
        queue.push("App\\Jobs\\Two", {"rows": [1, 2], "who": {"name": "Zoë"}, "none": None})
        queue.push("App\\Jobs\\Three")

        queue.listen(stop_when_empty=True)

        assert jobs == [
            {"name": "App\\Jobs\\One", "data": {"n": 1}},
            {
                "name": "App\\Jobs\\Two",
                "data": {"rows": [1, 2], "who": {"name": "Zoë"}, "none": None},
            },
            {"name": "App\\Jobs\\Three", "data": {}},
        ]

    def test_a_class_finds_its_own_handler_and_all_others_the_common_one(self, client):
        queue = Queue(client, queue="python")
        seen = []

        @queue.handler("App\\Jobs\\Mail")
        def mail(job):
            seen.append(("mail", job["name"]))

        @queue.handler()
        def rest(job):
            seen.append(("rest", job["name"]))

        queue.push("App\\Jobs\\Mail")
        queue.push("App\\Jobs\\Other")
        queue.listen(stop_when_empty=True)

        assert seen == [("mail", "App\\Jobs\\Mail"), ("rest", "App\\Jobs\\Other")]

    def test_a_decorated_function_stays_what_it_is(self, client):
        queue = Queue(client)

        @queue.handler
        def all_jobs(job):
            return "called"

        @queue.handler("App\\Jobs\\Mail")
        def mail(job):
            return "mailed"

        assert (all_jobs({}), mail({})) == ("called", "mailed")

    @pytest.mark.parametrize("name", [None, "App\\Jobs\\Mail"])
    def test_a_second_handler_for_the_same_jobs_is_refused(self, client, name):
        queue = Queue(client, queue="python")

        @queue.handler(name)
        def first(job): ...

        with pytest.raises(ValueError, match=r"python has a handler for .* already: first"):
            queue.handler(name)(lambda job: None)

    def test_what_is_no_function_is_refused(self, client):
        with pytest.raises(ValueError, match="must be a function"):
            Queue(client).handler(7)

    def test_without_a_handler_nothing_is_taken(self, client):
        queue = Queue(client, queue="python")
        queue.push("App\\Jobs\\One")

        with pytest.raises(ValueError, match="has no handler"):
            queue.listen(stop_when_empty=True)

        assert queue.size() == (1, 0, 0)

    def test_a_job_that_nobody_handles_fails_naming_it_and_those_that_are(self, client):
        queue = Queue(client, queue="python", max_retries=0)
        queue.handler("App\\Jobs\\Mail")(lambda job: None)
        queue.push("App\\Jobs\\Unknown", {"n": 1})

        queue.listen(stop_when_empty=True)

        [letter] = queue.dead_letters()
        assert "no handler for App\\Jobs\\Unknown (handled: App\\Jobs\\Mail)" in letter.error
        assert queue.get_metrics()["jobs"]["processed"] == 0

    def test_a_string_job_is_found_with_and_without_its_method(self, client):
        queue = Queue(client, queue="python")
        seen = []
        queue.handler("App\\Reports@build")(lambda job: seen.append(("build", job)))
        queue.handler("App\\Reports")(lambda job: seen.append(("class", job)))
        queue.push("App\\Reports@build", {"a": [1.5]})
        queue.push("App\\Reports@delete", ["free"])

        queue.listen(stop_when_empty=True)

        assert seen == [
            ("build", {"name": "App\\Reports@build", "data": {"a": [1.5]}}),
            ("class", {"name": "App\\Reports@delete", "data": ["free"]}),
        ]

    def test_a_handler_may_push_and_listen_again_later(self, client):
        queue = Queue(client, queue="python")
        jobs = []

        @queue.handler
        def handle(job):
            jobs.append(job["data"]["n"])
            if job["data"]["n"] < 3:
                queue.push(job["name"], {"n": job["data"]["n"] + 1})

        queue.push("App\\Jobs\\Count", {"n": 1})
        queue.listen(stop_when_empty=True)
        queue.push("App\\Jobs\\Count", {"n": 9})
        queue.listen(stop_when_empty=True)

        assert jobs == [1, 2, 3, 9]

    def test_queues_are_emptied_in_their_order(self, client):
        queue = Queue(client, queue=["high", "low"])
        jobs = handled(queue)
        for n in (1, 2):
            queue.push("App\\Jobs\\X", {"n": n}, queue="low")
        for n in (3, 4):
            queue.push("App\\Jobs\\X", {"n": n}, queue="high")

        queue.listen(stop_when_empty=True)

        assert [job["data"]["n"] for job in jobs] == [3, 4, 1, 2]

    def test_names_of_queues_may_be_one_text(self, client):
        queue = Queue(client, queue="high, low")
        jobs = handled(queue)
        queue.push("App\\Jobs\\X", {"n": 1}, queue="low")
        queue.push("App\\Jobs\\X", {"n": 2})  # the first one

        queue.listen(stop_when_empty=True)

        assert [job["data"]["n"] for job in jobs] == [2, 1]


class TestPush:
    def test_a_payload_has_what_a_laravel_worker_wants(self, client):
        queue = Queue(client, queue="python")

        uuid = queue.push("App\\Jobs\\X", {"n": 1})

        [fields] = payloads(client)
        assert fields["uuid"] == uuid
        assert fields["displayName"] == "App\\Jobs\\X"
        assert fields["job"] == "Illuminate\\Queue\\CallQueuedHandler@call"
        assert fields["data"]["commandName"] == "App\\Jobs\\X"
        assert fields["data"]["command"].startswith('O:10:"App\\Jobs\\X":')
        assert fields["attempts"] == 0
        assert len(fields["id"]) == 32
        assert client.llen(READY.format("python") + ":notify") == 1

    def test_each_option_has_its_field(self, client):
        queue = Queue(client, queue="python")

        queue.push(
            "App\\Jobs\\X",
            {},
            max_tries=5,
            max_exceptions=2,
            backoff=[1, 5, 10],
            timeout=30,
            retry_until=datetime(2030, 1, 1, tzinfo=timezone.utc),
            fail_on_timeout=True,
            delete_when_missing_models=True,
            display_name="Shown",
        )

        [fields] = payloads(client)
        wanted = {
            "maxTries": 5,
            "maxExceptions": 2,
            "backoff": "1,5,10",
            "timeout": 30,
            "retryUntil": 1893456000,
            "failOnTimeout": True,
            "deleteWhenMissingModels": True,
            "displayName": "Shown",
        }
        assert {name: fields[name] for name in wanted} == wanted

    def test_without_options_the_worker_decides(self, client):
        Queue(client, queue="python").push("App\\Jobs\\X")

        [fields] = payloads(client)
        assert [fields[name] for name in ("maxTries", "backoff", "timeout")] == [None] * 3

    def test_one_wait_may_stand_for_all(self, client):
        Queue(client, queue="python").push("App\\Jobs\\X", backoff=7)

        assert payloads(client)[0]["backoff"] == "7"

    @pytest.mark.parametrize(
        "delay",
        [
            60,
            59.5,
            timedelta(minutes=1),
            lambda: datetime.now(timezone.utc) + timedelta(minutes=1),
            lambda: datetime.now() + timedelta(minutes=1),  # noqa: DTZ005 - local time
        ],
        ids=["seconds", "part of one", "timedelta", "datetime", "local datetime"],
    )
    def test_a_delayed_job_is_due_then_and_not_before(self, client, delay):
        queue = Queue(client, queue="python")
        jobs = handled(queue)

        queue.push("App\\Jobs\\X", delay=delay() if callable(delay) else delay)
        queue.listen(stop_when_empty=True)

        [due] = delayed(client)
        assert 58 < due - time.time() <= 61
        assert jobs == []
        assert queue.size() == (0, 1, 0)

    def test_a_delayed_job_is_run_when_it_is_due(self, client):
        queue = Queue(client, queue="python")
        jobs = handled(queue)
        pushed = time.time()
        queue.push("App\\Jobs\\X", delay=1)

        until_ended(queue, 1)

        assert len(jobs) == 1
        assert 1 <= time.time() - pushed < 4

    @pytest.mark.parametrize("delay", [-1, float("nan"), float("inf"), "soon", True])
    def test_a_delay_that_makes_no_sense_is_refused(self, client, delay):
        with pytest.raises(ValueError, match="delay="):
            Queue(client).push("App\\Jobs\\X", delay=delay)

    @pytest.mark.parametrize("backoff", [-1, [1, -1], [0.5], "10"])
    def test_a_backoff_that_makes_no_sense_is_refused(self, client, backoff):
        with pytest.raises(ValueError, match="backoff="):
            Queue(client).push("App\\Jobs\\X", backoff=backoff)

    def test_bulk_keeps_the_order(self, client):
        queue = Queue(client, queue="python")
        jobs = handled(queue)

        uuids = queue.bulk((("App\\Jobs\\X", {"n": n}) for n in range(2500)), max_tries=1)

        assert [fields["uuid"] for fields in payloads(client)] == uuids
        assert client.llen(READY.format("python") + ":notify") == 2500
        queue.listen(stop_when_empty=True)
        assert [job["data"]["n"] for job in jobs] == list(range(2500))

    def test_of_a_bulk_with_a_bad_job_nothing_is_pushed(self, client):
        queue = Queue(client, queue="python")

        with pytest.raises(ValueError, match=r"jobs\[1\] is 'App"):
            queue.bulk([("App\\Jobs\\X", {}), "App\\Jobs\\Y"])
        with pytest.raises(lara_queue.EncodingError):
            queue.bulk([("App\\Jobs\\X", {}), ("App\\Jobs\\X", {"f": len})])

        assert queue.size() == (0, 0, 0)

    @pytest.mark.parametrize(
        ("data", "place"),
        [
            ({"f": len}, r"data\['f'\]"),
            ({"rows": [1, {"n": 2**63}]}, r"data\['rows'\]\[1\]\['n'\]"),
            ([1, 2], "must be a dict"),
        ],
    )
    def test_what_php_cannot_hold_is_refused_naming_its_place(self, client, data, place):
        queue = Queue(client)

        with pytest.raises(lara_queue.EncodingError, match=place):
            queue.push("App\\Jobs\\X", data)

        assert queue.size() == (0, 0, 0)

    def test_values_come_back_as_python_has_them(self, client):
        queue = Queue(client, queue="python")
        jobs = handled(queue)
        moment = datetime(2026, 5, 17, 12, 30, 15, 250000, tzinfo=timezone.utc)
        queue.push("App\\Jobs\\X", {"at": moment, "sum": Decimal("19.90"), "raw": b"text"})

        queue.listen(stop_when_empty=True)

        assert jobs[0]["data"] == {"at": moment, "sum": "19.90", "raw": "text"}

    def test_an_encrypted_job_is_not_to_be_read_without_the_key(self, client):
        key = "base64:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
        queue = Queue(client, queue="python", app_key=key)
        jobs = handled(queue)
        queue.push("App\\Jobs\\X", {"secret": "hunter2"}, encrypted=True)

        assert "hunter2" not in json.dumps(payloads(client))
        queue.listen(stop_when_empty=True)
        assert jobs[0]["data"] == {"secret": "hunter2"}

    def test_without_a_key_nothing_is_pushed_encrypted(self, client, monkeypatch):
        monkeypatch.delenv("APP_KEY", raising=False)
        monkeypatch.delenv("LARAVEL_APP_KEY", raising=False)
        with pytest.raises(ValueError, match="APP_KEY"):
            Queue(client).push("App\\Jobs\\X", encrypted=True)

    def test_a_unique_job_is_pushed_once_until_it_has_run(self, client):
        queue = Queue(client, queue="python")
        queue.handler("App\\Jobs\\X", unique_id=lambda data: data["order"])(lambda job: None)

        def push():
            return queue.push("App\\Jobs\\X", {"order": 7}, unique_id=7, unique_for=60)

        first, second = push(), push()
        queue.listen(stop_when_empty=True)
        third = push()

        assert first
        assert second is None
        assert third

    def test_a_queue_can_be_counted_and_cleared(self, client):
        queue = Queue(client, queue=["python", "other"])
        queue.push("App\\Jobs\\X")
        queue.push("App\\Jobs\\X", delay=60)
        queue.push("App\\Jobs\\X", queue="other")

        assert queue.size() == (1, 1, 0)
        assert queue.clear() == 2
        assert queue.size() == (0, 0, 0)
        assert queue.size("other").ready == 1
        assert queue.clear("other") == 1
        assert client.keys() == []


class TestFigures:
    def test_metrics_tell_what_became_of_jobs(self, client):
        queue = Queue(client, queue="python", max_retries=0)

        @queue.handler
        def handle(job):
            time.sleep(0.05)
            if job["data"]["n"] == 3:
                raise KeyError("n")

        queue.bulk(("App\\Jobs\\X", {"n": n}) for n in range(4))
        queue.listen(stop_when_empty=True)

        metrics = queue.get_metrics()
        assert metrics["jobs"] == {"processed": 3, "retried": 0, "failed": 1, "processing": 0}
        assert metrics["errors"] == {"KeyError": 1}
        assert 0 < metrics["performance"]["throughput_per_second"] <= 20
        assert 0.05 <= metrics["performance"]["p50_seconds"] < 1

    def test_the_number_of_running_jobs_is_known_while_they_run(self, client):
        queue = Queue(client, queue="python")
        seen = []

        @queue.handler
        def handle(job):
            seen.append((queue._processing_jobs, queue.get_metrics()["jobs"]["processing"]))

        queue.push("App\\Jobs\\X")
        queue.listen(stop_when_empty=True)

        assert seen == [(1, 1)]
        assert queue._processing_jobs == 0

    def test_metrics_may_be_switched_off(self, client):
        queue = Queue(client, queue="python", enable_metrics=False)
        handled(queue)
        queue.push("App\\Jobs\\X")

        queue.listen(stop_when_empty=True)

        assert queue.get_metrics()["jobs"]["processed"] == 0

    def test_the_log_is_that_of_lara_queue(self, client, caplog):
        queue = Queue(client, queue="python", max_retries=0)
        queue.handler("App\\Jobs\\X")(lambda job: 1 / 0)
        uuid = queue.push("App\\Jobs\\X")

        with caplog.at_level(logging.INFO):
            queue.listen(stop_when_empty=True)

        [line] = [each for each in caplog.records if "ZeroDivisionError: " in each.getMessage()][:1]
        assert line.name == "lara_queue"
        assert f"App\\Jobs\\X {uuid} failed after attempt 1/1" in line.getMessage()


class TestEvents:
    def test_each_turn_of_a_job_is_told(self, client):
        queue = Queue(client, queue="python", max_retries=1, retry=AT_ONCE)
        told = []
        for name in ("processing", "processed", "retrying", "failed"):
            queue.on(name, lambda event, name=name: told.append((name, event)))
        queue.handler("App\\Jobs\\Good")(lambda job: None)
        queue.handler("App\\Jobs\\Bad")(lambda job: {}["x"])
        good = queue.push("App\\Jobs\\Good")
        bad = queue.push("App\\Jobs\\Bad")

        until_ended(queue, 2)

        assert [(name, event["uuid"], event["attempt"]) for name, event in told] == [
            ("processing", good, 1),
            ("processed", good, 1),
            ("processing", bad, 1),
            ("retrying", bad, 1),
            ("processing", bad, 2),
            ("failed", bad, 2),
        ]
        last = told[-1][1]
        assert (last["name"], last["queue"]) == ("App\\Jobs\\Bad", "python")
        assert last["error"] == "KeyError: 'x'"
        assert 0 <= last["seconds"] < 1

    def test_a_listener_that_fails_harms_neither_its_fellows_nor_the_job(self, client, caplog):
        queue = Queue(client, queue="python")
        jobs, told = handled(queue), []

        @queue.on("processed")
        def breaks(event):
            raise RuntimeError("broken listener")

        queue.on("processed", told.append)
        queue.push("App\\Jobs\\X")
        queue.listen(stop_when_empty=True)

        assert (len(jobs), len(told)) == (1, 1)
        assert queue.get_metrics()["jobs"]["processed"] == 1
        assert "broken listener" in caplog.text

    def test_a_listener_may_hear_once_and_may_leave(self, client):
        queue = Queue(client, queue="python")
        handled(queue)
        once, some = [], []

        def leaves(event):
            some.append(event)
            if len(some) == 2:
                queue.events.remove_listener("processed", leaves)

        queue.events.once("processed", once.append)
        queue.on("processed", leaves)
        queue.bulk(("App\\Jobs\\X", {}) for _ in range(4))
        queue.listen(stop_when_empty=True)

        assert (len(once), len(some)) == (1, 2)
        assert queue.events.listeners("processed") == []


class TestRetries:
    @pytest.mark.parametrize(
        ("policy", "waits"),
        [
            (RetryPolicy("exponential", first=100, cap=300, jitter=0), [100, 200, 300]),
            (RetryPolicy("linear", first=100, cap=1000, jitter=0), [100, 200, 300]),
            (RetryPolicy("fixed", first=100, jitter=0), [100, 100, 100]),
            (RetryPolicy(lambda attempt: 100 * attempt**2, cap=900, jitter=0), [100, 400, 900]),
        ],
        ids=["exponential", "linear", "fixed", "function"],
    )
    def test_a_job_that_does_not_say_waits_as_the_policy_has_it(self, client, policy, waits):
        queue = Queue(client, queue="python", retry=policy)
        queue.handler(lambda job: {}["x"])
        queue.push("App\\Jobs\\X")
        waited = []

        for _ in range(3):
            queue.listen(stop_when_empty=True)
            [(held, due)] = client.zrange(
                READY.format("python") + ":delayed", 0, -1, withscores=True
            )
            waited.append(due - time.time())
            client.zadd(READY.format("python") + ":delayed", {held: 0})

        assert [w - 2 < had <= w + 1 for had, w in zip(waited, waits, strict=True)] == [True] * 3
        queue.listen(stop_when_empty=True)
        assert queue.size() == (0, 0, 0)
        assert len(queue.dead_letters()) == 1

    def test_jitter_only_shortens(self, client):
        policy = RetryPolicy("fixed", first=1000, cap=1000, jitter=0.5)
        queue = Queue(client, queue="python", retry=policy)
        queue.handler(lambda job: {}["x"])
        queue.bulk(("App\\Jobs\\X", {}) for _ in range(20))

        queue.listen(stop_when_empty=True)

        waits = [due - time.time() for due in delayed(client)]
        assert all(490 < wait <= 1001 for wait in waits)
        assert max(waits) - min(waits) > 20

    def test_what_the_job_says_goes_before_the_policy(self, client):
        queue = Queue(client, queue="python", retry=AT_ONCE, max_retries=0)
        queue.handler(lambda job: {}["x"])
        queue.push("App\\Jobs\\X", max_tries=3, backoff=[100, 200])

        queue.listen(stop_when_empty=True)

        [due] = delayed(client)
        assert 98 < due - time.time() <= 101

    @pytest.mark.parametrize(
        "policy",
        [
            RetryPolicy("fixed", first=0, only=(OSError,)),
            RetryPolicy("fixed", first=0, never=(LookupError,)),
        ],
        ids=["only", "never"],
    )
    def test_an_error_that_deserves_no_retry_gets_none(self, client, policy):
        queue = Queue(client, queue="python", retry=policy)
        queue.handler(lambda job: {}["x"])
        queue.push("App\\Jobs\\X")

        [event] = until_ended(queue, 1)

        assert event["attempt"] == 1
        assert "KeyError" in event["error"]

    def test_a_handler_may_ask_for_another_run(self, client):
        queue = Queue(client, queue="python")

        @queue.handler
        def handle(job):
            raise Retry("the bank is closed", after=100)

        queue.push("App\\Jobs\\X")
        queue.listen(stop_when_empty=True)

        [due] = delayed(client)
        assert 98 < due - time.time() <= 101

    def test_a_handler_may_say_that_it_is_no_use(self, client):
        queue = Queue(client, queue="python")

        @queue.handler
        def handle(job):
            raise Cancel("the order is gone")

        ended = []
        queue.on("failed", ended.append)
        queue.push("App\\Jobs\\X", max_tries=5)
        queue.listen(stop_when_empty=True)

        assert queue.size() == (0, 0, 0)
        [letter], [event] = queue.dead_letters(), ended
        assert letter.error.startswith("Cancel: the order is gone")
        assert (event["attempt"], event["error"]) == (1, "Cancel: the order is gone")
        assert queue.get_metrics()["jobs"]["processed"] == 0

    def test_a_run_beyond_its_time_limit_is_a_failed_attempt(self, client):
        queue = Queue(client, queue="python", max_retries=0, timeout=0.3)
        queue.handler(lambda job: time.sleep(30))
        queue.push("App\\Jobs\\X")
        began = time.monotonic()

        queue.listen(stop_when_empty=True)

        assert time.monotonic() - began < 5
        assert "Timeout" in queue.dead_letters()[0].error


class TestFailures:
    def test_a_dead_letter_has_the_payload_and_where_it_failed(self, client):
        queue = Queue(client, queue="python", max_retries=0)

        @queue.handler
        def breaks_down(job):
            raise LookupError("no user 7")

        uuid = queue.push("App\\Jobs\\X", {"user": 7})
        before = int(time.time())
        queue.listen(stop_when_empty=True)

        [letter] = queue.dead_letters()
        assert letter.queue == "python"
        assert json.loads(letter.payload)["uuid"] == uuid
        assert letter.error.startswith("LookupError: no user 7")
        assert "in breaks_down" in letter.error
        assert before <= letter.failed_at <= time.time()
        assert queue.size() == (0, 0, 0)

    def test_a_dead_letter_can_be_sent_round_again_with_all_its_attempts(self, client):
        queue = Queue(client, queue="python", max_retries=1, retry=AT_ONCE)
        broken, attempts = [True], []

        @queue.handler
        def handle(job):
            attempts.append(len(attempts) + 1)
            if broken:
                raise LookupError("not yet")

        queue.push("App\\Jobs\\X", {"n": 1})
        until_ended(queue, 1)
        broken.clear()
        [letter] = queue.dead_letters()

        assert queue.retry_dead_letter(letter)
        assert payloads(client)[0]["attempts"] == 0
        assert not queue.retry_dead_letter(letter)  # it is gone
        queue.listen(stop_when_empty=True)

        assert queue.dead_letters() == []
        assert attempts == [1, 2, 3]

    def test_a_dead_letter_can_be_deleted(self, client):
        queue = Queue(client, queue="python", max_retries=0)
        queue.handler(lambda job: {}["x"])
        queue.bulk(("App\\Jobs\\X", {"n": n}) for n in range(3))
        queue.listen(stop_when_empty=True)

        letter = queue.dead_letters()[1]

        assert queue.delete_dead_letter(letter)
        assert not queue.delete_dead_letter(letter)
        assert letter not in queue.dead_letters()
        assert len(queue.dead_letters()) == 2
        assert len(queue.dead_letters(limit=1)) == 1

    def test_a_payload_that_can_never_run_cannot_be_sent_round_again(self, client):
        queue = Queue(client, queue="python")
        handled(queue)
        client.rpush(READY.format("python"), "no JSON at all")
        queue.listen(stop_when_empty=True)

        [letter] = queue.dead_letters()
        assert letter.payload == "no JSON at all"
        with pytest.raises(ValueError, match="can never run"):
            queue.retry_dead_letter(letter)
        assert queue.delete_dead_letter(letter)

    def test_failures_may_go_to_a_function(self, client):
        failed = []
        queue = Queue(client, queue="python", max_retries=0, failed=failed.append)
        queue.handler(lambda job: {}["x"])
        uuid = queue.push("App\\Jobs\\X", {"n": 1})

        queue.listen(stop_when_empty=True)

        [job] = failed
        assert (job.uuid, job.connection, job.queue) == (uuid, "redis", "python")
        assert json.loads(job.payload)["uuid"] == uuid
        assert job.exception.startswith("KeyError: 'x'")
        assert queue.dead_letters() == []
        assert queue.size() == (0, 0, 0)


def pid_of(job):
    with open(job["data"]["file"], "a", encoding="utf-8") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(0.3)


def hangs(job):
    while True:
        with contextlib.suppress(BaseException):
            time.sleep(60)


def crashes(job):
    os._exit(9)


def secret(job):
    raise ValueError(job["data"]["secret"])


@pytest.fixture(params=["forked", "spawned"])
def _started(request):
    """Processes are forked while the program has one thread, and started afresh otherwise."""
    if request.param == "forked":
        for thread in threading.enumerate():  # of queues that other tests had
            if thread is not threading.main_thread():
                thread.join(10)
        yield
        return
    leave = threading.Event()
    thread = threading.Thread(target=leave.wait)
    thread.start()
    yield
    leave.set()
    thread.join()


@pytest.mark.usefixtures("_started")
class TestProcesses:
    def test_handlers_run_in_processes_beside_each_other(self, client, tmp_path):
        policy = RetryPolicy(lambda attempt: 1, only=(OSError,))
        queue = Queue(client, queue="python", processes=2, retry=policy)
        queue.handler("App\\Jobs\\X", unique_id=lambda data: "x")(pid_of)
        for _ in range(4):
            queue.push("App\\Jobs\\X", {"file": str(tmp_path / "pids")})

        queue.listen(stop_when_empty=True)

        pids = (tmp_path / "pids").read_text().split()
        assert len(pids) == 4
        assert len(set(pids)) == 2
        assert str(os.getpid()) not in pids
        assert queue.get_metrics()["jobs"]["processed"] == 4

    def test_a_handler_that_hangs_is_killed_with_its_process(self, client):
        queue = Queue(client, queue="python", processes=1, max_retries=0)
        queue.handler(hangs)
        queue.push("App\\Jobs\\X", timeout=1)

        queue.listen(stop_when_empty=True)

        [letter] = queue.dead_letters()
        assert letter.error.startswith("TaskTimeout: ")

    def test_a_handler_that_crashes_its_process_has_failed(self, client):
        queue = Queue(client, queue="python", processes=1, max_retries=0)
        queue.handler(crashes)
        queue.push("App\\Jobs\\X")

        queue.listen(stop_when_empty=True)

        [letter] = queue.dead_letters()
        assert "exited with status 9" in letter.error
        assert queue.size() == (0, 0, 0)

    def test_encrypted_jobs_and_those_that_nobody_handles_are_known_there(self, client):
        key = "base64:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
        queue = Queue(client, queue="python", processes=1, max_retries=0, app_key=key)
        queue.handler("App\\Jobs\\X")(secret)
        queue.push("App\\Jobs\\X", {"secret": "hunter2"}, encrypted=True)
        queue.push("App\\Jobs\\Unknown")

        queue.listen(stop_when_empty=True)

        errors = sorted(letter.error.splitlines()[0] for letter in queue.dead_letters())
        assert "no handler for App\\Jobs\\Unknown (handled: App\\Jobs\\X)" in errors[0]
        assert errors[1] == "ValueError: hunter2"

    def test_a_handler_that_no_process_could_find_is_refused(self, client):
        queue = Queue(client, queue="python", processes=1)
        queue.handler(lambda job: None)
        queue.push("App\\Jobs\\X")

        with pytest.raises(ValueError, match="top of a module"):
            queue.listen(stop_when_empty=True)

        assert queue.size() == (1, 0, 0)


class TestStopping:
    def test_stop_from_another_thread_lets_the_running_job_end(self, client):
        queue = Queue(client, queue="python")
        ended = []

        @queue.handler
        def handle(job):
            for _ in range(2):
                threading.Thread(target=queue.stop).start()
            time.sleep(0.3)
            ended.append(job)

        queue.push("App\\Jobs\\X")
        queue.push("App\\Jobs\\X")
        queue.listen()

        assert len(ended) == 1
        assert queue.size() == (1, 0, 0)

    def test_stop_before_listen_means_nothing(self, client):
        queue = Queue(client, queue="python")
        jobs = handled(queue)
        queue.stop()
        queue.push("App\\Jobs\\X")

        queue.listen(stop_when_empty=True)

        assert len(jobs) == 1

    def test_a_queue_may_listen_in_a_thread(self, client):
        queue = Queue(client, queue="python")
        jobs = handled(queue)
        thread = threading.Thread(target=queue.listen)
        thread.start()
        try:
            queue.push("App\\Jobs\\X")
            deadline = time.monotonic() + 10
            while not jobs and time.monotonic() < deadline:
                time.sleep(0.01)
        finally:
            queue.stop()
            thread.join(10)

        assert len(jobs) == 1
        assert not thread.is_alive()

    def test_no_handler_stays_registered_after_it(self, client):
        from liteq import registry

        before = {definition.name for definition in registry.definitions()}
        queue = Queue(client, queue="python")
        handled(queue)

        queue.listen(stop_when_empty=True)

        assert {definition.name for definition in registry.definitions()} == before


class TestSettings:
    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"retry_after": 0}, "retry_after=0"),
            ({"timeout": 0}, "timeout=0"),
            ({"timeout": float("inf")}, "timeout=inf"),
            ({"timeout": float("nan")}, "timeout=nan"),
            ({"max_retries": -1}, "max_retries=-1"),
            ({"processes": -1}, "processes=-1"),
            ({"grace": -1}, "grace=-1"),
            ({"queue": ""}, "queue=''"),
            ({"queue": []}, r"queue=\[\]"),
            ({"queue": "a,,b"}, "queue='a,,b'"),
            ({"app_key": "base64:short"}, "APP_KEY"),
            ({"failed": "oracle://x"}, "oracle"),
            ({"cache": "memcached://x"}, "memcached"),
        ],
    )
    def test_a_value_that_makes_no_sense_is_refused_at_once(self, client, settings, message):
        with pytest.raises(ValueError, match=message):
            Queue(client, **settings)

    def test_a_setting_that_is_none_is_refused_naming_those_there_are(self, client):
        with pytest.raises(TypeError, match=r"named 'retries'; there are .*max_retries"):
            Queue(client, retries=3)

    @pytest.mark.parametrize("place", ["redis://localhost", None, 7])
    def test_what_is_no_client_is_refused(self, place):
        with pytest.raises(ValueError, match="no Redis client"):
            Queue(place)

    def test_a_client_that_must_be_awaited_is_refused(self):
        with pytest.raises(ValueError, match="AsyncQueue"):
            Queue(redis.asyncio.Redis())

    def test_keys_are_never_shown(self, client):
        key = "base64:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
        queue = Queue(client, app_key=key, previous_keys=[key])

        assert "MDEyMzQ1" not in repr(queue.settings)


class TestClients:
    @pytest.mark.parametrize("decode", [True, False])
    @pytest.mark.parametrize("protocol", [2, 3])
    def test_replies_may_be_text_or_bytes_in_either_protocol(self, redis_server, decode, protocol):
        with redis_server.client(decode_responses=decode, protocol=protocol) as client:
            queue = Queue(client, queue="python", max_retries=0)
            jobs = []

            @queue.handler
            def handle(job):
                jobs.append(job)
                if job["data"]["n"] == 2:
                    raise ValueError("ünlucky")

            queue.bulk(("App\\Jobs\\Ünïcode", {"n": n, "raw": "ÿ"}) for n in range(3))
            queue.listen(stop_when_empty=True)

            assert [job["data"]["n"] for job in jobs] == [0, 1, 2]
            assert jobs[0] == {"name": "App\\Jobs\\Ünïcode", "data": {"n": 0, "raw": "ÿ"}}
            assert "ünlucky" in queue.dead_letters()[0].error

    def test_a_blocking_pool_of_one_connection_suffices(self, redis_server):
        pool = redis.BlockingConnectionPool(port=redis_server.port, max_connections=2, timeout=5)
        with redis.Redis(connection_pool=pool) as client:
            queue = Queue(client, queue="python")
            jobs = handled(queue)
            queue.push("App\\Jobs\\X", delay=1)

            until_ended(queue, 1)

            assert len(jobs) == 1
        pool.disconnect()

    def test_the_client_stays_open(self, client):
        queue = Queue(client, queue="python")
        handled(queue)

        queue.listen(stop_when_empty=True)

        assert client.ping()

    def test_prefixes_separate_applications(self, client):
        one = Queue(client, queue="python", prefix="one_")
        other = Queue(client, queue="python", prefix="")
        one.push("App\\Jobs\\X")

        assert (one.size().ready, other.size().ready) == (1, 0)
        assert client.llen("one_queues:python") == 1
