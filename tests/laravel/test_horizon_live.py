"""Horizon's dashboard, as real queues and workers of ours keep it told."""

import asyncio
import json
import signal
import threading
import time

import pytest
import redis.asyncio

from lara_queue import AsyncQueue, Queue, Retry, RetryPolicy

H = "laravel_horizon:"


@pytest.fixture
def queue(redis_client):
    return Queue(redis_client, queue="reports", horizon=H, retry=RetryPolicy("fixed", first=0))


def until(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


def test_pushed_job_is_listed_as_pending(queue, redis_client):
    uuid = queue.push("App\\Jobs\\X", {"n": 1}, tags=["user:1"])

    shown = redis_client.hgetall(H + uuid)
    payload = json.loads(redis_client.lindex("laravel_database_queues:reports", 0))
    assert (shown["status"], shown["name"], shown["queue"]) == (
        "pending",
        "App\\Jobs\\X",
        "reports",
    )
    assert (payload["id"], payload["type"], payload["tags"]) == (uuid, "job", ["user:1"])
    assert json.loads(shown["payload"]) == payload
    assert redis_client.zscore(H + "pending_jobs", uuid) < 0
    assert redis_client.zscore(H + "recent_jobs", uuid) < 0
    assert 3500 < redis_client.ttl(H + uuid) <= 3600


def test_job_is_shown_through_all_its_stages(queue, redis_client):
    uuid = queue.push("App\\Jobs\\X", {"n": 1})
    seen = []

    @queue.handler
    def handle(job):
        seen.append(redis_client.hgetall(H + uuid))
        if len(seen) == 1:
            raise Retry(after=0)

    queue.on("retrying", lambda event: seen.append(redis_client.hgetall(H + uuid)))
    queue.on("processed", lambda event: queue.stop())
    queue.listen()

    first, _, second = seen
    done = redis_client.hgetall(H + uuid)
    assert [first["status"], second["status"], done["status"]] == [
        "reserved",
        "reserved",
        "completed",
    ]
    assert json.loads(first["payload"])["attempts"] == 1
    assert json.loads(second["payload"])["attempts"] == 2
    assert redis_client.zscore(H + "completed_jobs", uuid) < 0
    assert redis_client.zscore(H + "pending_jobs", uuid) is None


def test_runs_are_measured(queue, redis_client):
    for n in range(3):
        queue.push("App\\Jobs\\X", {"n": n})
    queue.handler(lambda job: time.sleep(0.02))

    queue.listen(stop_when_empty=True)

    by_job = redis_client.hgetall(H + "job:App\\Jobs\\X")
    by_queue = redis_client.hgetall(H + "queue:reports")
    assert by_job["throughput"] == by_queue["throughput"] == "3"
    assert 20 <= float(by_job["runtime"]) < 500
    assert redis_client.smembers(H + "measured_jobs") == {H + "job:App\\Jobs\\X"}
    assert redis_client.smembers(H + "measured_queues") == {H + "queue:reports"}


def test_failed_job_is_shown_with_its_trace_and_can_be_retried(queue, redis_client):
    uuid = queue.push("App\\Jobs\\X", {"n": 1}, max_tries=1, tags=["user:1"])

    @queue.handler
    def handle(job):
        raise KeyError("no such user")

    queue.listen(stop_when_empty=True)

    shown = redis_client.hgetall(H + uuid)
    assert shown["status"] == "failed"
    assert "no such user" in shown["exception"]
    assert "in handle" in shown["exception"]
    assert redis_client.zscore(H + "failed_jobs", uuid) < 0
    assert redis_client.zscore(H + "failed:user:1", uuid) > 0

    # What the dashboard's button pushes.
    again = json.loads(shown["payload"]) | {"id": "r1", "uuid": "r1", "attempts": 0}
    again["retry_of"] = uuid
    redis_client.hset(H + uuid, "retried_by", json.dumps([{"id": "r1", "status": "pending"}]))
    redis_client.rpush("laravel_database_queues:reports", json.dumps(again))
    better = Queue(redis_client, queue="reports", horizon=H)
    better.handler(lambda job: None)
    better.listen(stop_when_empty=True)

    assert json.loads(redis_client.hget(H + uuid, "retried_by")) == [
        {"id": "r1", "status": "completed"}
    ]


def test_worker_shows_as_a_supervisor_and_goes_with_its_end(queue, redis_client):
    queue.handler(lambda job: None)
    listening = threading.Thread(target=queue.listen)
    listening.start()
    until(lambda: redis_client.zcard(H + "supervisors"))

    [master] = redis_client.zrange(H + "masters", 0, -1)
    [supervisor] = redis_client.zrange(H + "supervisors", 0, -1)
    shown = redis_client.hgetall(H + "supervisor:" + supervisor)
    assert redis_client.hgetall(H + "master:" + master)["status"] == "running"
    assert (shown["master"], shown["status"]) == (master, "running")
    assert json.loads(shown["processes"]) == {"redis:reports": 1}
    assert 0 < redis_client.ttl(H + "master:" + master) <= 15
    assert 0 < redis_client.ttl(H + "supervisor:" + supervisor) <= 30

    queue.stop()
    listening.join(10)

    assert redis_client.keys(H + "*") == []


def test_horizon_pauses_resumes_and_ends_a_worker(queue, redis_client):
    ran = []
    queue.handler(lambda job: ran.append(job["data"]["n"]))
    listening = threading.Thread(target=queue.listen)
    listening.start()
    until(lambda: redis_client.zcard(H + "supervisors"))
    [supervisor] = redis_client.zrange(H + "supervisors", 0, -1)

    def order(name):
        text = json.dumps(
            {"command": f"Laravel\\Horizon\\SupervisorCommands\\{name}", "options": []}
        )
        redis_client.rpush(H + "commands:" + supervisor, text)

    def status():
        return redis_client.hget(H + "supervisor:" + supervisor, "status")

    order("Pause")
    until(lambda: status() == "paused")
    queue.push("App\\Jobs\\X", {"n": 1})
    time.sleep(1.2)  # two of the worker's looks at the queue
    assert ran == []
    order("ContinueWorking")
    until(lambda: ran == [1])
    order("Terminate")
    listening.join(10)

    assert not listening.is_alive()


def test_awaited_queue_is_shown_too(redis_server):
    async def main():
        client = redis.asyncio.Redis(port=redis_server.port, decode_responses=True)
        queue = AsyncQueue(client, queue="reports", horizon=H)
        uuid = await queue.push("App\\Jobs\\X", {"n": 1})
        pending = await client.hget(H + uuid, "status")

        @queue.handler
        async def handle(job):
            pass

        await queue.listen(stop_when_empty=True)
        done = await client.hget(H + uuid, "status")
        await client.aclose()
        return pending, done

    assert asyncio.run(main()) == ("pending", "completed")


def test_signals_of_horizon_commands_end_no_listening_program(queue, redis_client):
    queue.handler(lambda job: queue.stop())
    timer = threading.Timer(0.5, signal.raise_signal, [signal.SIGUSR2])
    again = threading.Timer(1.0, signal.raise_signal, [signal.SIGCONT])
    push = threading.Timer(1.2, queue.push, ["App\\Jobs\\X"])
    for each in (timer, again, push):
        each.start()

    queue.listen()

    assert redis_client.llen("laravel_database_queues:reports") == 0
