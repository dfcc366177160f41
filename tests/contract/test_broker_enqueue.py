"""What every broker promises of `enqueue`, and of what can be read back."""

import pytest
from scenes import NOON, URLS, claim, elsewhere, new, opened, put

from liteq import brokers
from liteq.job import JobRecord, NewJob
from liteq.times import stamp


def test_ids_are_new_and_in_order(broker):
    first = put(broker, new(), new())
    second = put(broker, new())

    assert [type(id) for id in first] == [int, int]
    assert sorted({*first, *second}) == [*first, *second]


def test_all_that_was_said_of_a_job_is_kept(broker):
    job = NewJob("pkg.send", '{"args": ["ä☃"], "kwargs": {}}', "mail", -3, 7, 2.5, NOON + 60, True)

    [id] = broker.enqueue([job])

    assert broker.get(id) == JobRecord(
        id=id,
        name="pkg.send",
        payload='{"args": ["ä☃"], "kwargs": {}}',
        queue="mail",
        status="pending",
        priority=-3,
        attempts=0,
        max_retries=7,
        worker_id=None,
        run_at=stamp(NOON + 60),
        created_at=stamp(NOON),
        started_at=None,
        finished_at=None,
        result=None,
        error=None,
        timeout=2.5,
    )


def test_a_job_for_at_once_has_no_time(broker):
    [id] = put(broker)

    assert broker.get(id).run_at is None


def test_nothing_enqueued_is_nothing_stored(broker):
    assert broker.enqueue([]) == []
    assert broker.count() == []


def test_enqueue_stores_all_or_none(broker):
    never = new(due=1e18)  # a moment that no calendar has

    with pytest.raises(ValueError, match="9999"):
        put(broker, new(), never, new())

    assert broker.count() == []
    assert claim(broker) == []
    [id] = put(broker)
    assert broker.get(id).status == "pending"


def test_a_job_that_nobody_stored_is_none(broker):
    [id] = put(broker)

    assert broker.get(id + 1) is None
    assert broker.attempts(id + 1) == []


def test_ten_thousand_jobs_go_in_and_out_as_one_batch(broker):
    ids = put(broker, *[new(priority=n % 3) for n in range(10_000)])

    jobs = claim(broker, 10_000)

    assert len(set(ids)) == 10_000
    assert [job.id for job in jobs] == [
        ids[n] for want in (2, 1, 0) for n in range(want, 10_000, 3)
    ]
    assert len({job.receipt for job in jobs}) == 10_000


def test_jobs_outlive_close(broker):
    [id] = put(broker)

    broker.close()

    assert broker.get(id).status == "pending"
    assert [job.id for job in claim(broker)] == [id]


def test_one_url_is_one_broker(store):
    assert brokers.connect(store.url) is store


@pytest.mark.parametrize("name", URLS)
def test_other_urls_are_other_stores(name, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, other = opened(name, tmp_path / "a"), opened(name, tmp_path / "b")

    put(one)

    assert other.count() == []


def test_the_payload_limit_can_stand_in_the_url(store):
    assert brokers.connect(store.url + "?payload_limit=100").payload_limit == 100
    assert store.payload_limit == 1024 * 1024


def test_other_processes_see_the_jobs(shared):
    [id] = put(shared)

    elsewhere(
        shared,
        f"assert broker.get({id}).name == 'add'",
        "broker.enqueue([NewJob('theirs', '{}')])",
    )

    assert [job.name for job in claim(shared)] == ["add", "theirs"]
