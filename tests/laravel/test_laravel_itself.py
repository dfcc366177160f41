"""Laravel alone on its queues: what the other tests are played with works as they take it to."""

import pytest


@pytest.fixture(params=["redis", "database"])
def either(laravel, request):
    """A Laravel whose queues are on Redis, then one whose are in a database."""
    laravel.env["QUEUE_CONNECTION"] = request.param
    return laravel


def told(events):
    return [each["event"] for each in events if each["event"] != "started"]


def test_laravel_runs_what_it_dispatches(either):
    either.dispatch("job", "Plain", "hello")

    events = either.work()

    assert told(events) == ["processing", "handled", "processed"]
    assert events[2]["got"] == {"+name": "hello"}
    assert events[3]["attempts"] == 1
    assert told(either.work()) == []


def test_a_failed_job_can_be_retried_with_laravels_command(either):
    either.dispatch("job", "Fails", 1)

    events = either.work()
    [uuid] = {each["uuid"] for each in events if each["event"] == "failed"}
    again = either.artisan("queue:retry", uuid)

    assert told(events) == ["processing", "handled", "told", "failed", "exception"]
    assert "has been pushed back" in again
    assert told(either.work()) == told(events)
