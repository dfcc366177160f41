"""What every broker promises of `finish`: changes are applied exactly where the receipt holds."""

import pytest
from scenes import NOON, buried, claim, done, failed, new, outcome, put, statuses

from liteq import lifecycle
from liteq.job import AttemptRecord, Filter
from liteq.times import stamp


def test_nothing_finished_is_nothing_changed(broker):
    assert broker.finish([]) == set()


def test_a_good_run_is_done_with_its_result(broker):
    put(broker)
    [job] = claim(broker)

    assert broker.finish([done(job, '{"n": 1}')]) == {job.id}

    record = broker.get(job.id)
    assert (record.status, record.result, record.error) == ("done", '{"n": 1}', None)
    assert (record.started_at, record.finished_at) == (stamp(NOON + 1), stamp(NOON + 1.5))
    assert (record.attempts, record.worker_id) == (1, "w1")
    assert broker.attempts(job.id) == []
    assert claim(broker) == []


def test_a_failed_run_goes_round_again_after_its_wait(broker, clock):
    put(broker)
    [job] = claim(broker)

    assert broker.finish([failed(job, wait=10)]) == {job.id}

    record = broker.get(job.id)
    assert (record.status, record.error, record.attempts) == ("pending", "ValueError: no", 1)
    assert (record.worker_id, record.run_at) == (None, stamp(NOON + 10))
    clock.advance(9)
    assert claim(broker) == []
    clock.advance(1)
    [again] = claim(broker, worker="w2")
    assert (again.id, again.attempt) == (job.id, 2)
    assert again.receipt != job.receipt


def test_the_last_failure_buries_the_job(broker):
    put(broker, new(max_retries=0))
    [job] = claim(broker)

    broker.finish([failed(job)])

    record = broker.get(job.id)
    assert (record.status, record.error, record.result) == ("failed", "ValueError: no", None)
    assert (record.started_at, record.finished_at) == (stamp(NOON + 1), stamp(NOON + 1.5))
    assert claim(broker) == []


def test_a_cancelled_run_ends_as_cancelled(broker):
    put(broker)
    [job] = claim(broker)

    broker.finish([lifecycle.cancelled(job, outcome(job, "cancelled", error="stopped"))])

    record = broker.get(job.id)
    assert (record.status, record.error) == ("cancelled", "stopped")


def test_success_after_a_failure_takes_the_error_away_but_not_the_attempt(broker, clock):
    put(broker)
    [job] = claim(broker)
    broker.finish([failed(job)])
    clock.advance(10)
    [again] = claim(broker)

    broker.finish([done(again)])

    assert broker.get(job.id).error is None
    assert [attempt.error for attempt in broker.attempts(job.id)] == ["ValueError: no"]


def test_attempts_that_did_not_end_well_are_kept_oldest_first(broker, clock):
    put(broker)
    for number, name in enumerate(("w1", "w2"), start=1):
        [job] = claim(broker, worker=name)
        broker.finish([failed(job, wait=0, now=clock.wall(), error=f"error {number}")])

    assert broker.attempts(job.id) == [
        AttemptRecord(1, "failed", "w1", stamp(NOON + 1), stamp(NOON + 1.5), "error 1", "tb"),
        AttemptRecord(2, "failed", "w2", stamp(NOON + 1), stamp(NOON + 1.5), "error 2", "tb"),
    ]


def test_a_released_run_gives_its_attempt_back_and_keeps_its_place(broker, clock):
    first, _ = put(broker, new(), new())
    [job] = claim(broker, 1)
    clock.advance(60)

    assert broker.finish([lifecycle.released(job)]) == {first}

    assert broker.attempts(first) == []
    assert broker.get(first).attempts == 0
    assert broker.get(first).started_at is None
    [again] = claim(broker, 1, worker="w2")
    assert (again.id, again.attempt, again.losses) == (first, 1, 0)


def test_a_release_keeps_the_error_of_the_run_before(broker, clock):
    put(broker)
    [job] = claim(broker)
    broker.finish([failed(job, wait=0)])
    [again] = claim(broker)

    broker.finish([lifecycle.released(again)])

    assert broker.get(job.id).error == "ValueError: no"


def test_a_first_loss_goes_round_at_once_and_is_counted(broker):
    put(broker)
    [job] = claim(broker)

    broker.finish([lifecycle.lost(job, outcome(job, "lost", error="killed"), 10, NOON)])

    [again] = claim(broker, worker="w2")
    assert (again.attempt, again.losses) == (2, 1)
    assert broker.attempts(job.id)[0].ending == "lost"


def test_a_further_loss_waits(broker, clock):
    put(broker)
    [job] = claim(broker)
    broker.finish([lifecycle.lost(job, outcome(job, "lost"), 10, NOON)])
    [again] = claim(broker)

    broker.finish([lifecycle.lost(again, outcome(again, "lost"), 10, NOON)])

    assert claim(broker) == []
    clock.advance(10)
    assert claim(broker)[0].losses == 2


def test_a_loss_of_which_no_times_are_known_keeps_the_time_of_its_claim(broker, clock):
    put(broker, new(max_retries=0))
    [job] = claim(broker)
    clock.advance(40)

    broker.finish(
        [lifecycle.lost(job, outcome(job, "lost", started=0.0, ended=clock.wall()), 0, NOON)]
    )

    assert broker.get(job.id).started_at == stamp(NOON)
    [attempt] = broker.attempts(job.id)
    assert (attempt.started_at, attempt.finished_at) == (stamp(NOON), stamp(NOON + 40))


@pytest.mark.parametrize("late", [done, failed, buried, lifecycle.released])
def test_a_stale_receipt_is_refused(broker, late):
    put(broker)
    [slow] = claim(broker)
    broker.finish([lifecycle.lost(slow, outcome(slow, "lost"), 0, NOON)])
    [fresh] = claim(broker, worker="w2")

    assert broker.finish([late(slow)]) == set()

    record = broker.get(slow.id)
    assert (record.status, record.worker_id, record.attempts) == ("running", "w2", 2)
    assert len(broker.attempts(slow.id)) == 1
    assert broker.finish([done(fresh, '"fresh"')]) == {fresh.id}
    assert broker.get(slow.id).result == '"fresh"'


@pytest.mark.parametrize("change", [done, buried])
def test_what_has_ended_is_not_finished_again(broker, change):
    put(broker)
    [job] = claim(broker)
    broker.finish([change(job)])
    ended = broker.get(job.id)

    assert broker.finish([done(job, '"late"')]) == set()
    assert broker.get(job.id) == ended


def test_a_job_that_is_gone_is_not_finished(broker):
    put(broker)
    [job] = claim(broker)
    broker.finish([done(job)])
    broker.purge(Filter())

    assert broker.finish([done(job)]) == set()


def test_of_a_batch_exactly_what_holds_is_applied(broker):
    put(broker, *[new(max_retries=0)] * 6)
    jobs = claim(broker)
    stale = [jobs[0], jobs[3]]
    broker.finish([lifecycle.released(job) for job in stale])
    changes = [
        done(jobs[0]),
        done(jobs[1]),
        buried(jobs[2]),
        buried(jobs[3]),
        lifecycle.released(jobs[4]),
        done(jobs[5]),
    ]

    accepted = broker.finish(changes)

    assert accepted == {jobs[1].id, jobs[2].id, jobs[4].id, jobs[5].id}
    assert statuses(broker, [job.id for job in jobs]) == [
        "pending",
        "done",
        "failed",
        "pending",
        "pending",
        "done",
    ]
    assert [len(broker.attempts(job.id)) for job in jobs] == [0, 0, 1, 0, 0, 0]


def test_a_run_that_is_finished_twice_in_a_batch_ends_once(broker):
    put(broker)
    [job] = claim(broker)

    assert broker.finish([done(job, '"a"'), done(job, '"b"'), buried(job)]) == {job.id}

    assert broker.get(job.id).result == '"a"'
    assert broker.attempts(job.id) == []


def test_ten_thousand_runs_are_finished_as_one_batch(broker):
    put(broker, *[new()] * 10_000)
    jobs = claim(broker, 10_000)

    accepted = broker.finish([done(job) for job in jobs])

    assert len(accepted) == 10_000
    assert broker.count() == [("default", "done", 10_000)]


def test_stale_receipts_are_refused_within_a_large_batch_too(broker):
    ids = put(broker, *[new() for _ in range(130)])
    slow = claim(broker, 130)
    broker.finish([lifecycle.released(job) for job in slow[40:90]])
    fresh = claim(broker, 130, worker="w2")

    accepted = broker.finish([done(job, '"late"') for job in slow])

    assert accepted == {job.id for job in [*slow[:40], *slow[90:]]}
    assert statuses(broker, [job.id for job in fresh]) == ["running"] * 50
    assert broker.finish([done(job, '"good"') for job in fresh]) == set(ids[40:90])
    assert broker.get(fresh[0].id).result == '"good"'
