"""What every broker promises to those who ask: find, count and oldest_due."""

import pytest
from scenes import NOON, buried, claim, done, new, put

from liteq.job import STATUSES, Filter, NewJob
from liteq.times import stamp


def found(broker, limit=100, **conditions):
    return [record.id for record in broker.find(Filter(**conditions), limit)]


@pytest.fixture
def five(broker):
    """One job in each state; their ids in the order of STATUSES."""
    pending, running, good, bad, cancelled = put(
        broker,
        NewJob("app.pending", '{"args": ["Zebra"]}', "a", due=NOON + 60),
        NewJob("app.running", '{"args": []}', "b", priority=9),
        NewJob("app.done", '{"args": ["100%"]}', "a", priority=8),
        NewJob("app.failed", '{"args": ["a_b"]}', "b", priority=7),
        NewJob("app.cancelled", '{"args": ["c\\\\d"]}', "b"),
    )
    broker.cancel(Filter(ids=(cancelled,)))
    claim(broker, 1, worker="w1", queues=("b",))
    _good, _bad = claim(broker, worker="w2", queues=("a", "b"))
    broker.finish([done(_good), buried(_bad, "KeyError: 'Ghost'")])
    return [pending, running, good, bad, cancelled]


def test_find_tells_the_newest_first(broker, five):
    assert found(broker) == sorted(five, reverse=True)


def test_find_tells_what_get_tells(broker, five):
    assert broker.find(Filter(), 100) == [broker.get(id) for id in sorted(five, reverse=True)]


def test_find_tells_no_more_than_its_limit(broker, five):
    assert found(broker, 2) == [five[4], five[3]]
    assert found(broker, 0) == []


def test_find_pages_from_the_newest_to_the_oldest(broker):
    ids = put(broker, *[new()] * 25)
    pages, before = [], None

    while page := found(broker, 10, before=before):
        pages.append(page)
        before = page[-1]

    assert [len(page) for page in pages] == [10, 10, 5]
    assert [id for page in pages for id in page] == ids[::-1]


@pytest.mark.parametrize("status", STATUSES)
def test_find_by_status(broker, five, status):
    assert found(broker, status=status) == [five[STATUSES.index(status)]]


def test_find_by_queue(broker, five):
    assert found(broker, queue="a") == [five[2], five[0]]
    assert found(broker, queue="none such") == []


def test_find_by_name_is_exact(broker, five):
    assert found(broker, name="app.done") == [five[2]]
    assert found(broker, name="app") == []


def test_find_by_worker_knows_past_runs_too(broker, five):
    assert found(broker, worker="w1") == [five[1]]
    assert found(broker, worker="w2") == [five[3], five[2]]


def test_find_by_ids(broker, five):
    assert found(broker, ids=(five[1], five[3], 10**9)) == [five[3], five[1]]
    assert found(broker, ids=()) == []


@pytest.mark.parametrize(
    ("text", "index"),
    [("APP.DONE", 2), ("zebra", 0), ("ghost", 3), ("100%", 2), ("a_b", 3), ("c\\\\d", 4)],
)
def test_find_by_text_looks_into_name_payload_and_error(broker, five, text, index):
    assert found(broker, text=text) == [five[index]]


@pytest.mark.parametrize("text", ["app%done", "app_done", "1000%"])
def test_find_by_text_takes_it_literally(broker, five, text):
    assert found(broker, text=text) == []


def test_all_conditions_must_hold(broker, five):
    assert found(broker, queue="b", status="failed", text="ghost", worker="w2") == [five[3]]
    assert found(broker, queue="a", status="failed") == []


def test_count_tells_each_queue_and_state_sorted(broker, five):
    put(broker, new(queue="a"))

    assert broker.count() == [
        ("a", "done", 1),
        ("a", "pending", 2),
        ("b", "cancelled", 1),
        ("b", "failed", 1),
        ("b", "running", 1),
    ]


def test_oldest_due_tells_how_long_the_first_of_each_queue_waits(broker, clock):
    put(broker, new(queue="a"), new(queue="b", due=NOON - 100), new(queue="c", due=NOON + 60))
    clock.advance(5)
    put(broker, new(queue="a"))

    assert broker.oldest_due() == {"a": pytest.approx(5), "b": pytest.approx(105)}


def test_oldest_due_counts_from_when_a_delayed_job_came_due(broker, clock):
    put(broker, new(due=NOON + 60))
    clock.advance(70)

    assert broker.oldest_due() == {"default": pytest.approx(10)}


def test_oldest_due_tells_nothing_of_jobs_that_run_or_ended(broker, five):
    assert broker.oldest_due() == {}


def test_times_are_told_as_utc_text(broker, five):
    assert broker.get(five[4]).finished_at == stamp(NOON)
    assert broker.get(five[4]).created_at == "2027-01-15T08:00:00.000000Z"
