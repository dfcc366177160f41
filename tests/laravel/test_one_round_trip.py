"""What has ended and what is to begin share a round trip to Redis, and nothing else changes."""

import time

import pytest
from redis.exceptions import ResponseError

from lara_queue import Queue
from liteq import lifecycle
from liteq.brokers.laravel.broker import LaravelBroker
from liteq.brokers.laravel.client import Blocking
from liteq.brokers.laravel.redis import Keys, RedisDriver
from liteq.brokers.laravel.site import Site
from liteq.errors import BrokerError
from liteq.job import Outcome

QUEUES = ("first", "second")
LEASE = 90


class Counting:
    """A client that counts how often it asks; `deaf`: the answer to the next pipeline is lost."""

    def __init__(self, client):
        self._client = client
        self.asked = 0
        self.deaf = False

    def execute_command(self, *command, **options):
        self.asked += 1
        return self._client.execute_command(*command, **options)

    def pipeline(self, **options):
        pipeline = self._client.pipeline(**options)
        execute = pipeline.execute

        def counted(*arguments, **options):
            self.asked += 1
            replies = execute(*arguments, **options)
            if self.deaf:
                self.deaf = False
                raise ResponseError("the answer is lost")
            return replies

        pipeline.execute = counted
        return pipeline


@pytest.fixture
def client(redis_client):
    return Counting(redis_client)


@pytest.fixture
def broker(client, redis_client):
    broker = LaravelBroker("redis", RedisDriver(Blocking(client), Keys()), Site(queues=QUEUES))
    broker._queues = QUEUES
    queue = Queue(redis_client, queue="first")
    queue.bulk([(f"App\\Jobs\\J{number}", {}) for number in range(4)])
    finish(broker, claim(broker, 1))  # the server knows the scripts now
    client.asked = 0
    return broker


def claim(broker, limit):
    return broker.claim("worker", QUEUES, limit, LEASE)


def finish(broker, jobs, room=0):
    now = time.time()
    changes = [lifecycle.succeeded(job, Outcome(job.receipt, "done", now, now)) for job in jobs]
    return broker.finish(changes, room)


def names(jobs):
    return [job.name for job in jobs]


def counts(broker, queue="first"):
    return tuple(broker.driver.counts(queue))


def test_the_next_job_comes_with_the_settlement_of_the_last_one(broker, client):
    jobs = claim(broker, 1)
    client.asked = 0

    accepted = finish(broker, jobs, room=1)
    following = claim(broker, 1)

    assert accepted == {jobs[0].id}
    assert names(jobs + following) == ["App\\Jobs\\J1", "App\\Jobs\\J2"]
    assert client.asked == 1
    assert counts(broker) == (1, 0, 1)


def test_without_room_nothing_is_taken(broker):
    jobs = claim(broker, 1)

    finish(broker, jobs)

    assert counts(broker) == (2, 0, 0)


def test_a_lost_answer_costs_neither_the_settled_nor_the_next_job(broker, client):
    jobs = claim(broker, 1)
    client.deaf = True
    with pytest.raises(BrokerError):
        finish(broker, jobs, room=1)

    accepted = finish(broker, jobs, room=1)
    following = claim(broker, 1)

    assert accepted == {jobs[0].id}
    assert names(following) == ["App\\Jobs\\J2"]
    assert following[0].attempt == 1
    assert counts(broker) == (1, 0, 1)


def test_a_server_that_has_forgotten_the_scripts_is_told_them_again(broker, redis_client):
    jobs = claim(broker, 1)
    redis_client.script_flush()

    finish(broker, jobs, room=1)

    assert names(claim(broker, 1)) == ["App\\Jobs\\J2"]
    assert counts(broker) == (1, 0, 1)


def test_a_paused_queue_gives_nothing_along_the_way(broker):
    jobs = claim(broker, 1)
    broker._paused = {"first"}

    finish(broker, jobs, room=1)

    assert claim(broker, 1) == []
    assert counts(broker) == (2, 0, 0)


def test_the_first_queue_goes_before_that_of_the_ended_job(broker, redis_client):
    finish(broker, claim(broker, 3))
    Queue(redis_client, queue="second").bulk([("App\\Jobs\\S", {}), ("App\\Jobs\\S", {})])
    jobs = claim(broker, 1)
    Queue(redis_client, queue="first").push("App\\Jobs\\F")

    finish(broker, jobs, room=1)

    assert names(jobs) == ["App\\Jobs\\S"]
    assert names(claim(broker, 1)) == ["App\\Jobs\\F"]
    assert counts(broker, "second") == (1, 0, 0)
