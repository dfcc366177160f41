"""Each example runs to its end in seconds, and shows what it is about."""

import pytest
from blocks import ROOT, Place

SHOWS = {
    "basic.py": ["now pending and pending", "sent 'Hello' to user@example.com", "done after 1"],
    "multiple_queues.py": [
        "emails   4 done",
        "reports  3 pending",
        "reports  3 done",
        "push 'Hello'",
    ],
    "priorities.py": ["priority  50  fire\npriority  10  password reset\npriority  10  login code"],
    "monitoring.py": ["shaky: 1 failed", "default: 6 done", "LookupError: no user 7"],
    "email_campaign.py": [
        "queued 61 emails",
        "sent at attempt 1\n",
        "  1 failed: AddressRefused: nonsense",
    ],
    "demo.py": ["all kept."],
}
SHOWS_WITH_REDIS = {
    "async_example.py": [
        "attempt 1 of App\\Jobs\\CheckPage: TimeoutError: no answer",
        "App\\Jobs\\SendReport with {'report': 7}",
        "201 jobs, 1 of them twice",
        "Throughput: ",
    ],
    "lara_queue_sync.py": [
        "App\\Jobs\\Alarm: {'level': 'red'}\ninvoice A-1 over 19.99, due 2026-12-24",
        "nobody could run: ValueError: no user 7",
        "still to come: 1",
    ],
    "laravel_tasks.py": [
        "report 7 until 31.12.2026 as pdf, attempt 1",
        "hello Ann",
        "left: 0",
    ],
}


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def test_every_example_is_known_here():
    assert {path.name for path in (ROOT / "examples").glob("*.py")} == {
        *SHOWS,
        *SHOWS_WITH_REDIS,
    }


@pytest.mark.parametrize("name", SHOWS)
def test_an_example_shows_what_it_is_about(place, name):
    output = place.run(["python", str(ROOT / "examples" / name)])

    assert [text for text in SHOWS[name] if text not in output] == [], output
    assert list(place.directory.iterdir()) == []  # it leaves nothing behind in this folder


@pytest.mark.parametrize("name", SHOWS_WITH_REDIS)
def test_an_example_with_redis_shows_what_it_is_about(place, redis_server, redis_client, name):
    place.environment["REDIS_URL"] = redis_server.url
    redis_client.set("somebody's", "own")

    output = place.run(["python", str(ROOT / "examples" / name)])

    assert [text for text in SHOWS_WITH_REDIS[name] if text not in output] == [], output
    assert redis_client.keys() == ["somebody's"]  # it leaves nothing behind there
    assert list(place.directory.iterdir()) == []
