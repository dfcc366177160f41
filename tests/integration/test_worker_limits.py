"""Runs that hang, crash or eat too much are stopped, with a reason, and nobody else is harmed.

One worker serves all of these tests; whatever they do to it, it is well again for the next.
"""

import os
import signal
import time

import chores
import pytest
from crew import attempts, ended, instant, status, wait_for

from liteq import enqueue


@pytest.fixture(scope="module")
def worker(shared_crew):
    hand = shared_crew.hire("--concurrency", "2", "--memory-limit-mb", "300")
    yield hand
    assert hand.stop() == 0


@pytest.fixture(autouse=True)
def bystanders(worker, notes):
    """Some jobs beside, of both kinds, that run before, meanwhile and after; all must end well."""
    before = [chores.stand_by.delay(), chores.stand_by_async.delay()]
    yield
    after = [chores.stand_by.delay(), chores.stand_by_async.delay()]
    assert {job.result(timeout=10) for job in before + after} == {"unharmed"}
    assert {status(job)["attempts"] for job in after} == {1}


HANGING = [
    chores.hang,
    chores.spin,
    chores.spin_in_c,
    chores.spin_deaf,
    chores.hang_async,
    chores.block_the_loop,
]


@pytest.mark.parametrize("task", HANGING)
def test_a_run_past_its_limit_is_stopped_within_half_a_second(task, notes):
    job = task.options(timeout=1).delay(notes.path)

    found = ended(job, seconds=5)

    assert found["status"] == "failed"
    assert "TaskTimeout" in found["error"]
    assert "1 second" in found["error"]
    assert found["attempts"] == 1
    assert 1.0 <= instant(found["finished_at"]) - instant(found["started_at"]) <= 1.5
    [attempt] = attempts(job)
    assert attempt.ending == "timeout"


@pytest.mark.parametrize("task", [chores.hang_stubbornly, chores.hang_async_stubbornly])
def test_a_task_that_swallows_its_timeout_is_stopped_by_force(task, notes):
    job = task.options(timeout=0.5).delay(notes.path)

    found = ended(job, seconds=5)

    assert found["status"] == "failed"
    assert "TaskTimeout" in found["error"]
    assert "0.5 seconds" in found["error"]
    assert notes.lines()[1] in ("swallowed TaskTimeout", "swallowed CancelledError")
    assert instant(found["finished_at"]) - instant(found["started_at"]) <= 1.2


def test_a_task_may_clean_up_when_its_time_is_over(notes):
    assert ended(chores.clean_up.delay(notes.path))["status"] == "failed"

    assert notes.lines() == ["cleaned"]


def test_a_timed_out_run_is_retried_like_any_other_failure(notes):
    job = chores.hang.options(timeout=0.2, max_retries=1).delay(notes.path)

    wait_for(lambda: attempts(job), "a run that was stopped")

    found = status(job)
    assert found["status"] == "pending"
    assert 8.9 <= instant(found["run_at"]) - instant(attempts(job)[0].finished_at) <= 10.1
    assert job.cancel()


@pytest.mark.parametrize("task", [chores.nap, chores.nap_async])
def test_a_run_within_its_limit_is_left_alone(task, notes):
    job = task.options(timeout=0.6).delay(notes.path, 0.3, "x")

    assert job.result(timeout=5) == "x"


def test_neighbours_of_a_coroutine_that_is_stopped_by_force_lose_no_attempt(worker, notes):
    worker_pids = set(worker.children())
    neighbours = enqueue(chores.nap_async.job(notes.path, 0.8, str(n)) for n in range(4))
    notes.wait(4)
    # Each of the two processes gets one, so that the four are certainly beside one of them.
    stuck = [chores.block_the_loop.options(timeout=0.3).delay(notes.path) for _ in range(2)]

    assert {ended(job, seconds=5)["status"] for job in stuck} == {"failed"}

    assert [job.result(timeout=10) for job in neighbours] == ["0", "1", "2", "3"]
    assert {status(job)["attempts"] for job in neighbours} == {1}
    assert not worker_pids & set(worker.children())


@pytest.mark.parametrize(
    ("task", "arguments", "words"),
    [
        (chores.crash_in_c, (), ["pool process", "SIGSEGV", "crash in C"]),
        (chores.vanish, (7,), ["pool process", "exited with status 7"]),
        (chores.vanish, (0,), ["pool process", "exited with status 0"]),
        (chores.vanish_async, (7,), ["pool process", "exited with status 7"]),
        (chores.kill_itself, (), ["pool process", "SIGKILL"]),
        (chores.devour, (600,), ["MemoryError", "memory_limit_mb=300"]),
    ],
)
def test_a_run_that_kills_its_process_fails_with_the_reason(task, arguments, words):
    found = ended(task.delay(*arguments), seconds=5)

    assert found["status"] == "failed"
    assert found["attempts"] == 1
    for word in words:
        assert word in found["error"]


def test_the_first_loss_goes_round_at_once_and_a_further_one_waits(notes):
    job = chores.vanish_until.delay(notes.path, 3)

    assert job.result(timeout=10) == 3

    first, second, third = map(float, notes.lines())
    assert second - first < 0.45
    assert 0.5 <= third - second < 1.5
    assert status(job)["attempts"] == 3
    assert {each.ending for each in attempts(job)} == {"lost"}


def test_the_seat_of_a_process_that_died_is_filled_again(worker):
    before = set(worker.children())

    ended(chores.vanish.delay(1))

    after = wait_for(
        lambda: len(worker.children()) == 2 and set(worker.children()), "two processes"
    )
    assert len(after - before) == 1


def test_a_job_whose_process_is_killed_from_outside_runs_again_at_once(worker, notes):
    job = chores.nap.delay(notes.path, 0.5, "x")
    notes.wait(1)
    killed = time.time()
    for pid in worker.children():
        os.kill(pid, signal.SIGKILL)

    notes.wait(2)
    assert time.time() - killed < 1.0
    assert job.result(timeout=5) == "x"
    assert status(job)["attempts"] == 2
    assert "SIGKILL" in attempts(job)[0].error


def test_a_job_within_the_memory_limit_runs():
    assert chores.devour.delay(100).result(timeout=5) == 100 * 1024 * 1024


def test_a_task_that_takes_the_alarm_for_itself_disarms_no_later_limit(worker, notes):
    pids = set()
    while pids != set(worker.children()):
        pids.add(chores.take_the_alarm.delay().result(timeout=5))

    found = ended(chores.hang.options(timeout=0.3).delay(notes.path), seconds=5)

    assert "TaskTimeout" in found["error"]
    assert set(worker.children()) == pids


def test_the_workers_limit_holds_for_tasks_that_have_none(crew, notes):
    hand = crew.hire("--concurrency", "2", "--timeout", "0.3")

    plain, coroutine = chores.hang.delay(notes.path), chores.hang_async.delay(notes.path)
    own = chores.nap.options(timeout=5).delay(notes.path, 0.6, "own")

    for job in (plain, coroutine):
        assert "TaskTimeout" in ended(job)["error"]
        assert "0.3 seconds" in status(job)["error"]
    assert own.result(timeout=5) == "own"
    assert hand.stop() == 0


def test_a_long_coroutine_beside_thousands_of_short_ones_can_still_be_stopped(crew, notes):
    hand = crew.hire("--concurrency", "1")
    cancelled = chores.hang_async.delay(notes.path)
    stuck = chores.hang_async_stubbornly.options(timeout=8).delay(notes.path)
    notes.wait(2)
    short = enqueue([chores.add_async.job(1, 2) for _ in range(1500)])
    short[-1].result(timeout=30)
    wait_for(lambda: status(short[-1])["status"] == "done", "the last of them")

    cancelled.cancel()

    assert ended(cancelled, seconds=5)["status"] == "cancelled"
    assert stuck.cancel()
    assert ended(stuck, seconds=5)["status"] == "cancelled"
    assert hand.stop() == 0
