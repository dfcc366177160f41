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


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def test_every_example_is_known_here():
    assert {path.name for path in (ROOT / "examples").glob("*.py")} == SHOWS.keys()


@pytest.mark.parametrize("name", SHOWS)
def test_an_example_shows_what_it_is_about(place, name):
    output = place.run(["python", str(ROOT / "examples" / name)])

    assert [text for text in SHOWS[name] if text not in output] == [], output
    assert list(place.directory.iterdir()) == []  # it leaves nothing behind in this folder
