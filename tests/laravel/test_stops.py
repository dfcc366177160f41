"""How Python's consumers stop: SIGTERM, Ctrl-C, a second one, a cancelled task, a closed client."""

import json
import signal

import pytest
from consumers import KINDS, Crew

P = "laravel_database_queues:default"
SOON = 8.0  # seconds for what should take no time, on a machine that may be busy
DEV = ("-X", "dev", "-W", "error")  # warnings, forgotten tasks and resources are told


@pytest.fixture
def crew(laravel, redis_server):
    crew = Crew(laravel, redis_server)
    yield crew
    crew.close()


def ready(redis_client):
    """The payloads that wait, with how often they have been tried."""
    bodies = map(json.loads, redis_client.lrange(P, 0, -1))
    return [(body["displayName"], body["attempts"]) for body in bodies]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_running_job_ends_before_its_consumer_does(crew, kind, number):
    crew.push([1], milliseconds=500)
    consumer = crew.start(kind)
    crew.has_begun(1)

    code, _ = consumer.stop(number)

    assert code == 0
    assert crew.runs() == {1: 1}
    assert crew.counts() == (0, 0, 0)
    assert consumer.troubles() == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_consumer_stops_at_once(crew, kind, number):
    consumer = crew.start(kind, python=() if kind == "liteq" else DEV).listening()

    code, took = consumer.stop(number)

    assert code == 0
    assert took < SOON
    assert consumer.troubles() == []


@pytest.mark.parametrize("kind", [*KINDS, "processes"])
def test_a_job_longer_than_the_grace_is_handed_back_uncounted(crew, kind, redis_client):
    crew.push([1], milliseconds=60_000)
    consumer = crew.start(kind, grace=0.5)
    crew.has_begun(1)

    code, took = consumer.stop()

    assert code == 0
    assert took < 0.5 + SOON
    assert ready(redis_client) == [("App\\Jobs\\Counted", 0)]
    assert crew.counts() == (1, 0, 0)
    assert crew.runs() == {}


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_signal_stops_at_once(crew, kind, redis_client):
    crew.push([1], milliseconds=60_000)
    consumer = crew.start(kind, grace=60)
    crew.has_begun(1)
    consumer.send(signal.SIGTERM)
    with pytest.raises(AssertionError):
        crew.handled([1], seconds=0.5)
    assert consumer.process.poll() is None

    code, took = consumer.stop()

    assert code == 0
    assert took < SOON
    assert ready(redis_client) == [("App\\Jobs\\Counted", 0)]


def test_listening_that_is_cancelled_lets_its_job_end(crew):
    crew.push([1], milliseconds=500)
    consumer = crew.start("aqueue", cancel=True, python=DEV)
    crew.has_begun(1)

    code, _ = consumer.stop(signal.SIGHUP)

    assert code == 0
    assert "cancelled" in consumer.log()
    assert crew.runs() == {1: 1}
    assert crew.counts() == (0, 0, 0)
    assert consumer.troubles() == []


@pytest.mark.parametrize("kind", ["queue", "aqueue"])
@pytest.mark.parametrize("decode", [True, False])
def test_a_client_may_be_closed_as_soon_as_listening_is_over(crew, kind, decode):
    crew.push(range(5))
    consumer = crew.start(kind, client={"decode_responses": decode}, python=DEV)
    crew.handled(range(5))

    code, _ = consumer.stop()

    assert code == 0
    assert consumer.troubles() == []
    assert "ERROR" not in consumer.log()
