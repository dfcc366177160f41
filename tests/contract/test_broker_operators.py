"""What every broker promises to people who act: cancel, revive, purge, prune."""

import pytest
from scenes import NOON, buried, claim, done, failed, new, outcome, put, statuses

from liteq import lifecycle
from liteq.job import Filter
from liteq.times import stamp


@pytest.fixture
def mixed(broker):
    """Ids of a done, a failed, a running and a pending job."""
    put(broker, *[new(priority=-n) for n in range(4)])
    good, bad, runs = claim(broker, 3)
    broker.finish([done(good), buried(bad)])
    [waits] = broker.find(Filter(status="pending"), 1)
    return [good.id, bad.id, runs.id, waits.id]


def test_a_pending_job_is_cancelled_at_once(broker, clock):
    now, later = put(broker, new(), new(due=NOON + 60))

    assert broker.cancel(Filter(ids=(now, later))) == 2

    assert statuses(broker, [now, later]) == ["cancelled", "cancelled"]
    record = broker.get(now)
    assert (record.finished_at, record.attempts) == (stamp(NOON), 0)
    assert "cancelled" in record.error
    clock.advance(60)
    assert claim(broker) == []


def test_a_running_job_is_asked_to_stop_and_runs_until_it_has(broker):
    [id] = put(broker)
    [job] = claim(broker)

    assert broker.cancel(Filter(ids=(id,))) == 1

    assert broker.get(id).status == "running"
    assert broker.cancellations("w1") == [job.receipt]
    assert broker.cancel(Filter(ids=(id,))) == 0


def test_what_has_ended_is_not_cancelled(broker, mixed):
    assert broker.cancel(Filter()) == 2
    assert statuses(broker, mixed) == ["done", "failed", "running", "cancelled"]
    assert broker.cancel(Filter(ids=(10**9,))) == 0


def test_cancel_takes_only_what_matches(broker):
    keep, drop = put(broker, new(queue="a"), new(queue="b"))

    assert broker.cancel(Filter(queue="b")) == 1
    assert statuses(broker, [keep, drop]) == ["pending", "cancelled"]


def test_a_revived_job_has_all_its_attempts_again(broker, clock):
    [id] = put(broker, new(max_retries=1))
    for _ in range(2):
        [job] = claim(broker)
        broker.finish([failed(job, wait=0, now=clock.wall())])
    assert broker.get(id).status == "failed"

    assert broker.revive(Filter(ids=(id,))) == 1

    record = broker.get(id)
    assert (record.status, record.attempts, record.finished_at) == ("pending", 0, None)
    assert record.run_at is None
    [job] = claim(broker)
    assert (job.attempt, job.losses, job.max_retries) == (1, 0, 1)
    assert len(broker.attempts(id)) == 2


def test_the_losses_of_a_revived_job_are_forgotten(broker):
    put(broker, new(at_most_once=True))
    [job] = claim(broker)
    broker.finish([lifecycle.lost(job, outcome(job, "lost"), 0, NOON)])
    assert broker.get(job.id).status == "failed"

    broker.revive(Filter())

    assert claim(broker)[0].losses == 0


def test_a_revived_job_is_as_old_as_its_revival(broker, clock):
    [revived] = put(broker)
    broker.cancel(Filter())
    clock.advance(10)
    [before] = put(broker)
    clock.advance(10)
    broker.revive(Filter())
    clock.advance(10)
    [after] = put(broker)

    assert [job.id for job in claim(broker)] == [before, revived, after]


def test_a_job_cancelled_before_its_time_can_be_revived(broker):
    [id] = put(broker, new(due=NOON + 3600))
    broker.cancel(Filter())

    assert broker.revive(Filter()) == 1
    assert [job.id for job in claim(broker)] == [id]


def test_only_failed_and_cancelled_jobs_are_revived(broker, mixed):
    assert broker.revive(Filter()) == 1
    assert statuses(broker, mixed) == ["done", "pending", "running", "pending"]


def test_a_job_that_was_revived_is_claimed_once(broker, mixed):
    broker.revive(Filter())

    assert sorted(job.id for job in claim(broker, worker="w2")) == sorted([mixed[1], mixed[3]])
    assert claim(broker, worker="w3") == []


def test_purge_never_deletes_a_running_job(broker, mixed):
    assert broker.purge(Filter()) == 3

    assert [broker.get(id) is None for id in mixed] == [True, True, False, True]
    assert broker.purge(Filter(status="running")) == 0


def test_purge_takes_only_what_matches(broker, mixed):
    assert broker.purge(Filter(status="failed")) == 1
    assert [broker.get(id) is None for id in mixed] == [False, True, False, False]


def test_purge_takes_the_attempts_along(broker, mixed):
    assert broker.attempts(mixed[1])

    broker.purge(Filter())

    assert broker.attempts(mixed[1]) == []


def test_a_purged_job_is_never_claimed(broker, clock):
    put(broker, new(), new(due=NOON + 5))

    assert broker.purge(Filter()) == 2

    clock.advance(10)
    assert claim(broker) == []
    assert broker.due_in(["default"]) is None


def test_ids_of_purged_jobs_are_not_used_again(broker):
    old = put(broker, new(), new())
    broker.purge(Filter())

    assert min(put(broker)) > max(old)


def test_people_act_on_more_jobs_than_fit_a_batch(broker):
    put(broker, *[new(queue="a")] * 1234, new(queue="b"))

    assert broker.cancel(Filter(queue="a")) == 1234
    assert broker.revive(Filter(queue="a")) == 1234
    assert broker.purge(Filter(queue="a")) == 1234
    assert broker.count() == [("b", "pending", 1)]


def ended(broker, clock):
    """Ids of a job done at 0 s, one failed at 100 s and one cancelled at 200 s."""
    good, bad, dropped = put(broker, new(priority=3), new(priority=2), new())
    [job] = claim(broker, 1)
    broker.finish([done(job)._replace(ended=clock.wall())])
    [job] = claim(broker, 1)
    clock.advance(100)
    broker.finish([buried(job)._replace(ended=clock.wall())])
    clock.advance(100)
    broker.cancel(Filter(ids=(dropped,)))
    return good, bad, dropped


def test_prune_deletes_what_ended_longer_ago(broker, clock):
    good, bad, dropped = ended(broker, clock)

    assert broker.prune(["done", "failed", "cancelled"], 150.0, 10) == 1
    assert [broker.get(id) is None for id in (good, bad, dropped)] == [True, False, False]

    clock.advance(51)
    assert broker.prune(["done", "failed", "cancelled"], 150.0, 10) == 1
    assert broker.get(bad) is None
    assert broker.attempts(bad) == []


def test_prune_takes_only_these_states(broker, clock):
    good, _, _ = ended(broker, clock)
    clock.advance(1000)

    assert broker.prune(["failed", "cancelled"], 150.0, 10) == 2
    assert broker.get(good) is not None
    assert broker.prune([], 0.0, 10) == 0


def test_prune_works_in_batches_until_nothing_is_left(broker, clock):
    put(broker, *[new(queue=queue) for queue in "abc" for _ in range(10)])
    broker.finish([done(job) for job in claim(broker, 30, queues=("a", "b", "c"))])
    clock.advance(1000)

    deleted = []
    while count := broker.prune(["done"], 100.0, 8):
        deleted.append(count)

    assert sum(deleted) == 30
    assert max(deleted) <= 8


def test_prune_leaves_pending_and_running_jobs(broker, clock):
    put(broker, new(), new())
    claim(broker, 1)
    clock.advance(10**6)

    assert broker.prune(["done", "failed", "cancelled"], 0.0, 10) == 0
    assert broker.count() == [("default", "pending", 1), ("default", "running", 1)]


def test_an_id_is_never_used_twice(broker):
    ids = broker.enqueue([new(), new()])
    broker.purge(Filter())

    [fresh] = broker.enqueue([new()])

    assert fresh not in ids
    assert [broker.get(id) for id in ids] == [None, None]
    assert broker.purge(Filter()) == 1
    assert broker.count() == []
