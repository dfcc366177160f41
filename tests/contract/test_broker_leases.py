"""What every broker promises of leases: beats, losses, cancellations, and who is alive."""

import pytest
from scenes import LEASE, NOON, claim, done, failed, new, outcome, put, worker

from liteq import lifecycle
from liteq.job import Filter


def receipts(jobs):
    return [job.receipt for job in jobs]


def lost(broker, name):
    """What the worker room does about a worker that died."""
    held = broker.held(name)
    broker.finish([lifecycle.lost(job, outcome(job, "lost"), 0, NOON) for job in held])
    broker.forget(name)
    return held


def expired(broker):
    return [known.worker_id for known in broker.workers() if known.expired]


def test_a_beat_brings_no_bad_news_of_runs_that_hold(broker):
    put(broker, new(), new())
    jobs = claim(broker)

    verdict = broker.beat(worker(), receipts(jobs), LEASE)

    assert (list(verdict.lost), list(verdict.cancelled)) == ([], [])


def test_a_beat_tells_which_runs_are_lost(broker):
    put(broker, new(), new(), new())
    mine, taken, ended = claim(broker)
    broker.finish([lifecycle.lost(taken, outcome(taken, "lost"), 0, NOON), done(ended)])
    claim(broker, worker="w2")

    verdict = broker.beat(worker(), receipts([mine, taken, ended]), LEASE)

    assert set(verdict.lost) == {taken.receipt, ended.receipt}
    assert broker.get(taken.id).worker_id == "w2"


def test_a_beat_tells_which_runs_are_to_be_stopped(broker):
    put(broker, new(), new())
    stop, go = claim(broker)
    broker.cancel(Filter(ids=(stop.id,)))

    verdict = broker.beat(worker(), receipts([stop, go]), LEASE)

    assert (list(verdict.lost), list(verdict.cancelled)) == ([], [stop.receipt])


def test_a_claim_whose_answer_was_lost_goes_back_unharmed_with_the_next_beat(broker):
    put(broker, new(), new())
    known, unknown = claim(broker)

    broker.beat(worker(), [known.receipt], LEASE)

    record = broker.get(unknown.id)
    assert (record.status, record.attempts, record.worker_id) == ("pending", 0, None)
    assert broker.attempts(unknown.id) == []
    assert [job.id for job in broker.held("w1")] == [known.id]
    [again] = claim(broker, worker="w2")
    assert (again.id, again.attempt, again.losses) == (unknown.id, 1, 0)
    assert broker.finish([done(unknown)]) == set()


def test_what_goes_back_keeps_its_place(broker, clock):
    put(broker, new(), new())
    [first] = claim(broker, 1)
    clock.advance(60)

    broker.beat(worker(), [], LEASE)

    assert claim(broker, 1, worker="w2")[0].id == first.id


def test_a_beat_touches_nothing_of_other_workers(broker):
    put(broker, new(), new())
    claim(broker, 1, worker="w1")
    [theirs] = claim(broker, 1, worker="w2")

    broker.beat(worker("w1"), [], LEASE)

    assert broker.get(theirs.id).status == "running"
    assert broker.finish([done(theirs)]) == {theirs.id}


def test_a_run_whose_cancel_was_asked_for_is_not_given_out_again(broker):
    put(broker, new(), new(), new())
    jobs = _, fails, dies = claim(broker)
    broker.cancel(Filter(status="running"))

    broker.beat(worker(), receipts([fails, dies]), LEASE)
    broker.finish([failed(fails), lifecycle.lost(dies, outcome(dies, "lost"), 0, NOON)])

    assert [broker.get(job.id).status for job in jobs] == ["cancelled"] * 3
    assert all(broker.get(job.id).finished_at for job in jobs)
    assert claim(broker) == []


def test_a_release_of_a_run_whose_cancel_was_asked_for_cancels_it(broker):
    put(broker)
    [job] = claim(broker)
    broker.cancel(Filter())

    assert broker.finish([lifecycle.released(job)]) == {job.id}

    assert broker.get(job.id).status == "cancelled"
    assert claim(broker) == []


def test_a_run_that_ends_well_before_its_cancel_arrives_is_done(broker):
    put(broker)
    [job] = claim(broker)
    broker.cancel(Filter())

    assert broker.finish([done(job)]) == {job.id}
    assert broker.get(job.id).status == "done"


def test_cancellations_are_those_of_this_workers_runs(broker):
    put(broker, *[new()] * 4)
    first, second = claim(broker, 2, worker="w1")
    claim(broker, 2, worker="w2")
    assert broker.cancellations("w1") == []

    broker.cancel(Filter())

    assert sorted(broker.cancellations("w1")) == sorted(receipts([first, second]))
    broker.finish([lifecycle.cancelled(first, outcome(first, "cancelled"))])
    assert broker.cancellations("w1") == [second.receipt]
    assert broker.cancellations("nobody") == []


def test_a_cancelled_and_revived_job_is_not_still_to_be_stopped(broker):
    put(broker)
    [job] = claim(broker)
    broker.cancel(Filter())
    broker.finish([lifecycle.cancelled(job, outcome(job, "cancelled"))])
    broker.revive(Filter())

    claim(broker)

    assert broker.cancellations("w1") == []


def test_a_worker_is_known_as_it_said_itself(broker, clock):
    info = worker(queues=("a", "b"), concurrency=8, active=3)
    clock.advance(2)

    broker.beat(info, [], LEASE)

    assert broker.workers() == [info._replace(heartbeat=NOON + 2, expired=False)]


def test_a_worker_without_queues_is_known_so(broker):
    broker.beat(worker(queues=()), [], LEASE)

    assert broker.workers()[0].queues == ()


def test_a_beat_brings_what_is_known_up_to_date(broker, clock):
    broker.beat(worker(active=0), [], LEASE)
    clock.advance(5)
    broker.beat(worker(active=2, queues=("x",)), [], LEASE)

    [known] = broker.workers()
    assert (known.active, known.queues, known.heartbeat) == (2, ("x",), NOON + 5)


def test_a_silent_worker_expires_when_its_lease_runs_out(broker, clock):
    broker.beat(worker("w1"), [], LEASE)
    clock.advance(20)
    broker.beat(worker("w2"), [], LEASE)

    clock.advance(9)
    assert expired(broker) == []
    clock.advance(2)
    assert expired(broker) == ["w1"]


def test_each_beat_renews_the_lease(broker, clock):
    put(broker)
    [job] = claim(broker)

    for _ in range(10):
        clock.advance(20)
        broker.beat(worker(), [job.receipt], LEASE)

    assert expired(broker) == []
    assert broker.finish([done(job)]) == {job.id}


def test_a_claim_is_a_sign_of_life_too(broker, clock):
    put(broker, new(), new())
    claim(broker, 1)
    clock.advance(20)
    claim(broker, 1)

    clock.advance(20)
    assert expired(broker) == []
    clock.advance(11)
    assert expired(broker) == ["w1"]


def test_a_claim_never_makes_a_lease_shorter(broker, clock):
    put(broker)
    broker.beat(worker(), [], 100.0)

    claim(broker, lease=1.0)

    clock.advance(50)
    assert expired(broker) == []


@pytest.mark.parametrize("seconds", [-86400, 86400])
def test_leases_run_by_the_steady_clock_not_the_wall(broker, clock, seconds):
    broker.beat(worker(), [], LEASE)

    clock.jump(seconds)
    assert expired(broker) == []
    clock.advance(31)
    assert expired(broker) == ["w1"]


def test_a_job_under_an_expired_lease_is_its_workers_until_it_is_recovered(broker, clock):
    put(broker)
    [job] = claim(broker)
    clock.advance(1000)

    assert claim(broker, worker="w2") == []
    assert broker.finish([done(job)]) == {job.id}


def test_the_jobs_of_a_dead_worker_are_recovered(broker, clock):
    put(broker, new(), new())
    claim(broker, worker="dead")
    broker.beat(worker("w2"), [], 1000.0)
    clock.advance(31)
    assert expired(broker) == ["dead"]

    assert len(lost(broker, "dead")) == 2

    assert [known.worker_id for known in broker.workers()] == ["w2"]
    assert [(job.attempt, job.losses) for job in claim(broker, worker="w2")] == [(2, 1), (2, 1)]


def test_of_two_that_recover_a_job_one_does(broker):
    put(broker)
    [job] = claim(broker, worker="dead")
    change = lifecycle.lost(job, outcome(job, "lost"), 0, NOON)

    assert broker.finish([change]) == {job.id}
    assert broker.finish([change]) == set()
    assert len(broker.attempts(job.id)) == 1


def test_held_are_the_jobs_as_they_were_claimed(broker):
    put(broker, *[new(priority=n) for n in range(3)])
    mine = claim(broker, 2)
    claim(broker, 1, worker="w2")

    assert sorted(broker.held("w1")) == sorted(mine)
    assert broker.held("nobody") == []


def test_held_ends_with_the_run(broker):
    put(broker, *[new()] * 4)
    jobs = claim(broker)
    broker.finish(
        [done(jobs[0]), failed(jobs[1]), lifecycle.released(jobs[2])],
    )

    assert [job.id for job in broker.held("w1")] == [jobs[3].id]


def test_a_forgotten_worker_is_known_from_what_it_holds_as_expired(broker):
    put(broker)
    [job] = claim(broker)
    broker.beat(worker(), [job.receipt], LEASE)

    broker.forget("w1")

    [known] = broker.workers()
    assert (known.worker_id, known.expired) == ("w1", True)
    assert broker.held("w1") == [job]


def test_a_forgotten_worker_that_holds_nothing_is_gone(broker):
    broker.beat(worker("w1"), [], LEASE)
    broker.beat(worker("w2"), [], LEASE)

    broker.forget("w1")
    broker.forget("nobody")

    assert [known.worker_id for known in broker.workers()] == ["w2"]


def test_workers_are_in_the_order_of_their_names(broker):
    for name in ("w3", "w1", "w2"):
        broker.beat(worker(name), [], LEASE)

    assert [known.worker_id for known in broker.workers()] == ["w1", "w2", "w3"]
