"""Who runs when: order, priorities, queues, delays, waking, and nobody stuck behind a long job."""

import time
from datetime import datetime, timedelta, timezone

import chores
import pytest
from crew import ended, insert, instant, status, wait_for

from liteq import brokers, enqueue

PROMPT = 0.1  # seconds; generous, as the machine may be busy


def lateness(job, due):
    """By how many seconds the run began after it was due."""
    return instant(ended(job)["started_at"]) - due


# ── order; each test has its own worker of one process ──


def test_higher_priority_first_over_all_queues_then_oldest_first(crew, notes):
    calls = [
        (chores.note, "default", 0, "c"),
        (chores.note, "other", 0, "d"),
        (chores.note, "default", -5, "f"),
        (chores.note, "other", 5, "b"),
        (chores.note, "default", 0, "e"),
        (chores.note, "default", 9, "a"),
    ]
    for task, queue, priority, text in calls:
        task.options(queue=queue, priority=priority).delay(notes.path, text)

    crew.hire("--concurrency", "1", "--burst").wait()

    assert "".join(notes.lines()) == "abcdef"


def test_many_jobs_in_one_process_run_in_the_order_of_their_ids(crew, notes):
    enqueue(chores.note.job(notes.path, str(n)) for n in range(2000))

    crew.hire("--concurrency", "1", "--burst").wait()

    assert notes.lines() == [str(n) for n in range(2000)]


def test_a_job_of_higher_priority_overtakes_what_waits(crew, notes):
    hand = crew.hire("--concurrency", "1")
    chores.nap.delay(notes.path, 0.3, "x")
    notes.wait(1)
    enqueue(chores.note.job(notes.path, "low") for _ in range(3))
    chores.note.options(priority=1).delay(notes.path, "high")

    notes.wait(6)

    assert notes.lines() == ["begin x", "end x", "high", "low", "low", "low"]
    assert hand.stop() == 0


def test_a_job_that_came_due_keeps_its_place_among_the_others(crew, notes):
    now = datetime.now(timezone.utc)
    chores.note.schedule(now - timedelta(seconds=1), notes.path, "second")
    chores.note.schedule(now - timedelta(seconds=2), notes.path, "first")
    chores.note.delay(notes.path, "third")

    crew.hire("--concurrency", "1", "--burst").wait()

    assert notes.lines() == ["first", "second", "third"]


def test_a_worker_leaves_other_queues_alone(crew, notes):
    hand = crew.hire("--concurrency", "1", "--queues", "other")
    left = chores.note.delay(notes.path, "default")
    taken = chores.note_other.delay(notes.path, "other")

    taken.result(timeout=5)

    assert status(left)["status"] == "pending"
    assert notes.lines() == ["other"]
    assert hand.stop() == 0


# ── one worker of two processes for the rest ──


@pytest.fixture(scope="module")
def worker(shared_crew):
    hand = shared_crew.hire("--concurrency", "2")
    yield hand
    assert hand.stop() == 0


def test_a_sleeping_worker_is_woken_at_once(worker):
    waits = []
    for _ in range(20):
        job = chores.add.delay(1, 2)
        job.result(timeout=5)
        waits.append(instant(status(job)["started_at"]) - instant(status(job)["created_at"]))

    waits.sort()
    assert waits[10] < 0.02  # a poll would take a quarter of a second


def test_a_sleeping_worker_costs_nothing(worker):
    chores.add.delay(1, 2).result(timeout=5)
    before, begin = worker.cpu_seconds(), time.monotonic()

    time.sleep(2)

    assert (worker.cpu_seconds() - before) / (time.monotonic() - begin) < 0.02


@pytest.mark.parametrize("seconds", [0.05, 0.3, 0.8, 1.3])
def test_a_delayed_job_is_on_time_and_never_early(worker, seconds):
    due = time.time() + seconds

    job = chores.now.schedule(datetime.fromtimestamp(due, timezone.utc))

    assert 0 <= lateness(job, due) < PROMPT
    assert job.result(timeout=1) >= due


def test_a_retry_is_on_time_and_never_early(worker, notes):
    ended(chores.fail.options(max_retries=1).delay("x", notes.path))

    first, second = map(float, notes.lines())
    assert 0.2 <= second - first < 0.2 + PROMPT + 0.05


def test_a_delayed_job_of_another_queue_wakes_nobody_for_nothing(worker):
    chores.add.options(queue="nobodys", delay=0.1).delay(1, 2)
    time.sleep(0.3)
    before, begin = worker.cpu_seconds(), time.monotonic()

    time.sleep(1.5)

    assert (worker.cpu_seconds() - before) / (time.monotonic() - begin) < 0.02


def test_jobs_of_a_transaction_start_soon_after_its_commit(worker):
    from liteq.db import get_conn

    connection = get_conn()
    job = chores.add.using(connection).delay(1, 2)
    assert not brokers.current().get(int(job))
    connection.commit()
    committed = time.time()
    connection.close()

    assert lateness(job, committed) < 1.0
    assert job.result(timeout=1) == 3


def test_jobs_of_a_transaction_that_is_rolled_back_never_were(worker, notes):
    from liteq.db import get_conn

    connection = get_conn()
    chores.note.using(connection).delay(notes.path, "never")
    connection.rollback()
    connection.close()
    chores.note.delay(notes.path, "after").result(timeout=5)
    time.sleep(0.6)  # the worker looks by itself twice a second

    assert notes.lines() == ["after"]


def test_short_jobs_do_not_wait_behind_a_long_one(worker, notes):
    enqueue(chores.add.job(1, 2) for _ in range(2000))  # so that it claims ahead
    long = chores.nap.delay(notes.path, 3, "long")
    short = enqueue(chores.add.job(1, 2) for _ in range(500))
    notes.wait(1)
    began = time.monotonic()

    for job in short:
        job.result(timeout=2)

    assert time.monotonic() - began < 2
    assert status(long)["status"] == "running"
    assert long.cancel()
    ended(long)


def test_short_jobs_do_not_wait_behind_as_many_long_ones_of_the_other_kind(worker, notes):
    long = [chores.nap.delay(notes.path, 3) for _ in range(2)]
    notes.wait(2)
    coroutines = enqueue(chores.add_async.job(1, 2) for _ in range(60))
    for job in coroutines:
        job.result(timeout=2)
    assert {status(job)["status"] for job in long} == {"running"}
    for job in long:
        job.cancel()
        ended(job)

    long = [chores.nap_async.delay(notes.path, 3) for _ in range(20)]
    notes.wait(22)
    plain = enqueue(chores.add.job(1, 2) for _ in range(60))
    for job in plain:
        job.result(timeout=2)
    assert {status(job)["status"] for job in long} == {"running"}
    for job in long:
        job.cancel()
    for job in long:
        ended(job)


def test_coroutines_run_ten_at_a_time_in_each_process(worker, notes):
    jobs = [chores.nap_async.delay(notes.path, 0.5) for _ in range(21)]

    notes.wait(20)
    for job in jobs:
        assert ended(job)["status"] == "done"

    first_end = next(n for n, line in enumerate(notes.lines()) if line.startswith("end"))
    assert first_end == 20


def test_a_long_job_claimed_ahead_goes_to_another_worker_that_is_free(crew, notes):
    first = crew.hire("--concurrency", "1")
    enqueue(chores.add.job(1, 2) for _ in range(1500))
    enqueue(chores.nap.job(notes.path, 2.0) for _ in range(2))
    notes.wait(1)

    second = crew.hire("--concurrency", "1")

    notes.wait(2, seconds=1.5)
    assert all(line.startswith("begin") for line in notes.lines())
    assert first.log().count("ERROR") == second.log().count("ERROR") == 0


def test_a_paused_queue_gives_nothing_until_it_is_resumed(crew, notes):
    hand = crew.hire("--concurrency", "1")
    brokers.current().pause("default")
    paused = chores.note.delay(notes.path, "late")
    chores.note_other.delay(notes.path, "early").result(timeout=5)
    assert status(paused)["status"] == "pending"

    brokers.current().resume("default")

    assert instant(ended(paused)["started_at"]) > 0
    assert notes.lines() == ["early", "late"]
    assert hand.stop() == 0


def test_a_crowd_of_due_delayed_jobs_all_run(worker):
    due = datetime.now(timezone.utc) + timedelta(seconds=0.3)
    jobs = enqueue(chores.add.job(n, 0)._replace(due=due.timestamp()) for n in range(2500))

    assert [job.result(timeout=10) for job in jobs[::100]] == list(range(0, 2500, 100))
    assert all(instant(status(job)["started_at"]) >= due.timestamp() - 1e-5 for job in jobs[::100])


def test_an_unknown_task_does_not_pile_up_in_a_busy_worker(worker, notes):
    long = [chores.nap.delay(notes.path, 1.5) for _ in range(2)]
    notes.wait(2)
    ids = [insert("INSERT INTO tasks (name) VALUES ('mystery')") for _ in range(30)]

    wait_for(lambda: all(status(id)["error"] for id in ids), "their failed runs", 1.4)

    assert {status(id)["attempts"] for id in ids} == {1}
    for job in long:
        ended(job)
