"""What every broker promises of `claim`: who gets which job, when, and in which order."""

import pytest
from scenes import NOON, claim, done, new, put

from liteq.job import Filter, Job
from liteq.times import stamp


def ids(jobs):
    return [job.id for job in jobs]


def test_a_claimed_job_carries_all_that_a_pool_needs(broker):
    [id] = put(broker, new(priority=4, max_retries=1, timeout=9.5, at_most_once=True))

    [job] = claim(broker)

    assert job == Job(
        id, "add", '{"args": [1, 2], "kwargs": {}}', "default", 4, 1, 1, 9.5, job.receipt, 0, True
    )


def test_a_claim_is_told_by_the_record(broker, clock):
    [id] = put(broker)
    clock.advance(2)

    claim(broker, worker="w7")

    record = broker.get(id)
    assert (record.status, record.worker_id, record.attempts) == ("running", "w7", 1)
    assert (record.started_at, record.finished_at) == (stamp(NOON + 2), None)


def test_receipts_are_opaque_ascii_of_at_most_56_bytes_and_never_repeat(broker):
    put(broker, *[new()] * 20)

    receipts = [job.receipt for job in claim(broker, 5) + claim(broker, 15, worker="w2")]

    assert len(set(receipts)) == 20
    assert all(receipt.isascii() and len(receipt) <= 56 for receipt in receipts)


def test_no_job_is_claimed_twice(broker):
    put(broker, *[new()] * 5)

    first, second = claim(broker, 3), claim(broker, 3, worker="w2")

    assert len({*ids(first), *ids(second)}) == 5
    assert claim(broker) == []


def test_a_claim_takes_no_more_than_its_limit(broker):
    put(broker, *[new()] * 3)

    assert claim(broker, 0) == []
    assert len(claim(broker, 2)) == 2


def test_jobs_of_other_queues_are_left_alone(broker):
    put(broker, new(queue="mail"))

    assert claim(broker, queues=("default", "reports")) == []
    assert len(claim(broker, queues=("default", "mail"))) == 1


def test_a_queue_named_twice_gives_each_job_once(broker):
    put(broker, new(), new())

    assert len(claim(broker, queues=("default", "default"))) == 2


def test_higher_priority_goes_first_over_all_the_queues(broker):
    low, high, middle = put(
        broker,
        new(queue="a", priority=-5),
        new(queue="b", priority=10),
        new(queue="a", priority=3),
    )

    assert ids(claim(broker, 2, queues=("a", "b"))) == [high, middle]
    assert ids(claim(broker, queues=("a", "b"))) == [low]


def test_of_one_priority_the_oldest_due_goes_first(broker, clock):
    young, old, oldest = put(
        broker,
        new(queue="a"),
        new(queue="b", due=NOON - 60),
        new(queue="a", due=NOON - 3600),
    )
    clock.advance(1)
    [last] = put(broker, new(queue="b"))

    assert ids(claim(broker, queues=("a", "b"))) == [oldest, old, young, last]


def test_of_equal_jobs_the_first_to_come_goes_first(broker):
    order = put(broker, *[new()] * 30)

    assert [claim(broker, 1)[0].id for _ in order] == order


def test_a_delayed_job_is_never_early_and_is_on_time(broker, clock):
    [id] = put(broker, new(due=NOON + 5))

    clock.advance(4.999)
    assert claim(broker) == []
    clock.advance(0.001)
    assert ids(claim(broker)) == [id]


def test_a_delayed_job_of_higher_priority_does_not_hold_up_others(broker, clock):
    later = put(broker, *[new(priority=9, due=NOON + 60 + n) for n in range(50)])
    [now] = put(broker)

    assert ids(claim(broker)) == [now]
    clock.advance(61)
    assert ids(claim(broker)) == later[:2]


def test_paused_queues_give_nothing_until_they_are_resumed(broker):
    [held, free] = put(broker, new(queue="a"), new(queue="b"))

    broker.pause("a")
    assert ids(claim(broker, queues=("a", "b"))) == [free]

    broker.resume("a")
    assert ids(claim(broker, queues=("a", "b"))) == [held]


def test_a_job_that_comes_due_in_a_paused_queue_waits_there(broker, clock):
    [id] = put(broker, new(due=NOON + 5))
    broker.pause("default")
    clock.advance(10)

    assert claim(broker) == []
    broker.resume("default")
    assert ids(claim(broker)) == [id]


def test_a_queue_may_be_paused_before_its_first_job(broker):
    broker.pause("default")

    put(broker)

    assert claim(broker) == []


def test_paused_tells_since_when(broker, clock):
    broker.pause("a")
    clock.advance(60)
    broker.pause("a")
    broker.pause("b")

    assert broker.paused() == {"a": stamp(NOON), "b": stamp(NOON + 60)}


def test_resume_of_a_queue_that_is_not_paused_does_nothing(broker):
    broker.resume("default")

    assert broker.paused() == {}


def test_what_runs_in_a_queue_goes_on_when_it_is_paused(broker):
    put(broker)
    [job] = claim(broker)
    broker.pause("default")

    assert broker.finish([done(job)]) == {job.id}


def test_jobs_of_skipped_tasks_are_passed_over(broker):
    slow, fast = put(broker, new("slow", priority=5), new("fast"))

    assert ids(broker.claim("w1", ["default"], 10, 30.0, ["slow", "none such"])) == [fast]
    assert ids(claim(broker)) == [slow]


def test_skipped_jobs_keep_their_order(broker):
    slow = put(broker, *[new("slow")] * 20)
    [fast] = put(broker, new("fast"))

    assert ids(broker.claim("w1", ["default"], 5, 30.0, ["slow"])) == [fast]
    assert ids(claim(broker, 20)) == slow


@pytest.mark.parametrize("seconds", [-86400, 86400])
def test_a_jump_of_the_wall_clock_neither_loses_nor_doubles_nor_stalls_a_job(
    broker, clock, seconds
):
    [running] = put(broker)
    claim(broker)
    [before] = put(broker)

    clock.jump(seconds)
    [after] = put(broker)

    assert sorted(ids(claim(broker, worker="w2"))) == [before, after]
    assert broker.count() == [("default", "running", 3)]
    assert not any(known.expired for known in broker.workers())
    assert broker.get(running).attempts == 1


def test_due_in_tells_when_to_look_again(broker, clock):
    assert broker.due_in(["default"]) is None
    put(broker, new(due=NOON + 60), new(due=NOON + 20))

    clock.advance(5)

    assert broker.due_in(["default"]) == pytest.approx(15)


def test_due_in_is_none_where_nothing_is_delayed(broker, clock):
    put(broker, new(), new(due=NOON + 5))
    clock.advance(6)
    claim(broker)

    assert broker.due_in(["default"]) is None


def test_due_in_is_never_negative(broker, clock):
    put(broker, new(due=NOON + 5))
    clock.advance(60)

    assert broker.due_in(["default"]) == 0


def test_due_in_forgets_a_job_that_was_cancelled(broker):
    [id] = put(broker, new(due=NOON + 5))
    put(broker, new(due=NOON + 50))

    broker.cancel(Filter(ids=(id,)))

    assert broker.due_in(["default"]) == pytest.approx(50)
