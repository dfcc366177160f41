"""Workers that are killed or frozen: their jobs run elsewhere, and only what began is charged."""

import os
import signal
import sqlite3
import time

import chores
from crew import alive, attempts, begun, ended, instant, status, wait_for

from liteq import brokers, enqueue, monitoring
from liteq.job import Filter

PROMISED = 2.0  # seconds in which a dead worker's jobs run again on the same host


def test_the_jobs_of_a_killed_worker_run_again_within_two_seconds(crew, notes):
    doomed = crew.hire("--concurrency", "2")
    jobs = [chores.nap.delay(notes.path, 0.7, "a"), chores.nap_async.delay(notes.path, 0.7, "b")]
    notes.wait(2)
    other = crew.hire("--concurrency", "2")

    doomed.kill()
    killed = time.time()
    notes.wait(4)
    assert time.time() - killed < PROMISED

    assert sorted(job.result(timeout=5) for job in jobs) == ["a", "b"]
    assert notes.lines().count("begin a") == 2
    assert notes.lines().count("end a") == 1
    for job in jobs:
        assert status(job)["attempts"] == 2
        [lost] = attempts(job)
        assert lost.ending == "lost"
        assert "worker" in lost.error
        assert str(doomed.pid) in lost.error
    assert other.stop() == 0


def test_a_worker_that_starts_later_finds_the_dead_ones_jobs_at_once(crew, notes):
    doomed = crew.hire("--concurrency", "1")
    job = chores.nap.delay(notes.path, 0.3, "x")
    notes.wait(1)
    doomed.kill()

    crew.hire("--concurrency", "1")

    assert job.result(timeout=PROMISED) == "x"
    assert [worker["worker_id"] for worker in monitoring.get_active_workers()] == [
        status(job)["worker_id"]
    ]


def test_pool_processes_die_with_their_worker(crew, notes):
    doomed = crew.hire("--concurrency", "2")
    jobs = [chores.spin.delay(notes.path), chores.spin_deaf.delay(notes.path)]
    notes.wait(2)
    children = doomed.children()

    doomed.kill()

    wait_for(lambda: not any(alive(pid) for pid in children), "their end", 2)
    assert {status(job)["status"] for job in jobs} == {"running"}


def test_only_runs_that_began_are_charged(crew, notes):
    """A worker has claimed more than it runs; jobs without retries tell the difference."""
    doomed = crew.hire("--concurrency", "1")
    # So fast that the worker claims ahead; then one that stops the flow.
    enqueue([chores.add.options(max_retries=0).job(1, 2) for _ in range(3000)])
    once = chores.nap.options(max_retries=0)
    enqueue([once.job(notes.path, 0.4 if n else 30, f"n{n}") for n in range(3)])
    enqueue([chores.note.options(max_retries=0).job(notes.path, f"x{n}") for n in range(50)])
    notes.wait(1)
    wait_for(lambda: _count("done") == 3000, "the results of all that has ended", 0.4)
    claimed = brokers.current().find(Filter(status="running"), 1000)
    doomed.kill()

    crew.hire("--concurrency", "2")

    wait_for(lambda: _count("pending", "running") == 0, "the end of all")
    assert _count("failed") == 1  # what was running
    [failed] = brokers.current().find(Filter(status="failed"), 10)
    assert failed.attempts == 1
    assert "died" in failed.error
    assert sorted(line for line in notes.lines() if line.startswith("x")) == sorted(
        f"x{n}" for n in range(50)
    )
    assert len(claimed) > 1, "the worker had claimed nothing ahead, so this has shown nothing"


def test_large_jobs_that_a_killed_worker_had_claimed_run_elsewhere(crew, notes):
    doomed = crew.hire("--concurrency", "1")
    enqueue([chores.add.job(1, 2) for _ in range(1500)])
    chores.nap.options(max_retries=0).delay(notes.path, 30)
    large = enqueue([chores.length.job("x" * 200_000) for _ in range(5)])
    notes.wait(1)
    wait_for(lambda: status(large[0])["status"] == "running", "a claim ahead", 0.4)

    doomed.kill()
    crew.hire("--concurrency", "1")

    assert [job.result(timeout=10) for job in large] == [200_000] * 5
    assert {status(job)["attempts"] for job in large} == {1}


def test_a_run_at_most_once_is_not_repeated(crew, notes):
    doomed = crew.hire("--concurrency", "1")
    ran, waiting = [chores.nap_once.delay(notes.path, seconds) for seconds in (30, 0)]
    notes.wait(1)

    doomed.kill()
    crew.hire("--concurrency", "1")

    assert ended(ran)["status"] == "failed"
    assert "died" in status(ran)["error"]
    assert ended(waiting)["status"] == "done"
    assert notes.lines() == [f"begin {ran}", f"begin {waiting}", f"end {waiting}"]


def test_a_frozen_workers_jobs_are_taken_over_and_its_late_results_refused(crew, notes):
    short = {"LITEQ_LEASE": "1"}
    frozen = crew.hire("--concurrency", "1", env=short)
    job = chores.nap.delay(notes.path, 1.5, "x")
    notes.wait(1)
    for pid in (frozen.pid, *frozen.children()):
        os.kill(pid, signal.SIGSTOP)

    other = crew.hire("--concurrency", "1", env=short)
    notes.wait(2, seconds=4)
    taken_by = status(job)["worker_id"]
    for pid in (*frozen.children(), frozen.pid):
        os.kill(pid, signal.SIGCONT)

    assert job.result(timeout=5) == "x"
    assert status(job)["worker_id"] == taken_by
    assert status(job)["attempts"] == 2
    wait_for(lambda: "lease" in frozen.log(), "its own discovery")
    assert chores.add.options().delay(1, 2).result(timeout=5) == 3
    assert frozen.stop() == other.stop() == 0


def test_a_running_job_keeps_its_lease_for_as_long_as_it_takes(crew, notes):
    short = {"LITEQ_LEASE": "1"}
    crew.hire("--concurrency", "1", env=short)
    job = chores.nap.delay(notes.path, 2.5, "x")
    notes.wait(1)
    crew.hire("--concurrency", "1", env=short)

    assert job.result(timeout=6) == "x"

    assert notes.lines() == ["begin x", "end x"]
    assert status(job)["attempts"] == 1


def test_a_worker_that_goes_on_without_its_row_says_hello_again(crew):
    hand = crew.hire("--concurrency", "1", env={"LITEQ_LEASE": "1"})
    [worker] = monitoring.get_active_workers()

    brokers.current().forget(worker["worker_id"])

    wait_for(lambda: len(monitoring.get_active_workers()) == 1, "its row")
    assert chores.add.delay(1, 2).result(timeout=5) == 3
    assert hand.stop() == 0


def test_a_job_left_running_by_nobody_runs_again(crew):
    """As a LiteQ 0.2 that was killed leaves them."""
    job = chores.add.delay(1, 2)
    with sqlite3.connect(os.environ["LITEQ_DB"]) as connection:
        connection.execute("UPDATE tasks SET status = 'running', attempts = 1, worker_id = NULL")
    connection.close()

    crew.hire("--concurrency", "1")

    assert job.result(timeout=5) == 3
    assert status(job)["attempts"] == 2


def test_a_killed_workers_row_and_marks_are_cleared_up(crew, notes):
    doomed = crew.hire("--concurrency", "2")
    [worker] = monitoring.get_active_workers()
    assert _marks(worker["worker_id"])
    doomed.kill()

    crew.hire("--concurrency", "1")

    wait_for(lambda: not _marks(worker["worker_id"]), "the end of its marks", 3)
    assert worker["worker_id"] not in [each["worker_id"] for each in monitoring.get_workers()]


def test_the_time_of_a_lost_run_is_on_record(crew, notes):
    doomed = crew.hire("--concurrency", "1")
    job = chores.nap.delay(notes.path, 0.3)
    notes.wait(1)
    begun(job)
    doomed.kill()

    crew.hire("--concurrency", "1")
    ended(job)

    [lost] = attempts(job)
    assert instant(lost.started_at) <= instant(lost.finished_at)
    assert instant(lost.finished_at) <= instant(status(job)["started_at"])


def _count(*statuses):
    return sum(n for _, status, n in brokers.current().count() if status in statuses)


def _marks(worker):
    from glob import glob

    from liteq.pools import marks

    return glob(marks.path(worker, "*"))
