"""A worker that is asked to stop loses nothing, charges nothing, and leaves nothing behind."""

import os
import signal
import time

import chores
import pytest
from crew import alive, done, ended, status, wait_for

from liteq import brokers, enqueue, monitoring
from liteq.job import Filter

KINDS = [chores.nap, chores.nap_async]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_running_jobs_may_end_and_waiting_ones_stay(crew, notes, number):
    hand = crew.hire("--concurrency", "1")
    running = [task.delay(notes.path, 0.6) for task in KINDS]
    notes.wait(2)
    waiting = enqueue(chores.add.job(1, 2) for _ in range(20))

    hand.send(number)

    assert hand.wait() == 0
    assert [status(job)["status"] for job in running] == ["done", "done"]
    assert {(status(job)["status"], status(job)["attempts"]) for job in waiting} == {("pending", 0)}
    assert monitoring.get_workers() == []
    assert brokers.current().find(_running(), 10) == []


def test_ctrl_c_to_the_whole_group_interrupts_no_job(crew, notes):
    hand = crew.hire("--concurrency", "1")
    job = chores.nap.delay(notes.path, 0.5, "x")
    notes.wait(1)

    for pid in (hand.pid, *hand.children()):
        os.kill(pid, signal.SIGINT)

    assert hand.wait() == 0
    assert status(job)["status"] == "done"
    assert status(job)["attempts"] == 1


def test_what_outlasts_the_grace_is_handed_back_without_losing_an_attempt(crew, notes):
    hand = crew.hire("--concurrency", "2", "--shutdown-grace", "0.5")
    jobs = [chores.hang.delay(notes.path), chores.hang_async_stubbornly.delay(notes.path)]
    notes.wait(2)
    jobs.append(chores.spin_deaf.delay(notes.path))  # from now on its process does nothing else
    notes.wait(3)
    children = hand.children()

    asked = time.monotonic()
    hand.send(signal.SIGTERM)

    assert hand.wait() == 0
    assert 0.5 <= time.monotonic() - asked < 2.0
    for job in jobs:
        assert (status(job)["status"], status(job)["attempts"]) == ("pending", 0)
    assert monitoring.get_workers() == []
    assert not any(alive(pid) for pid in children)


@pytest.mark.parametrize("pool", ["processes", "threads"])
def test_a_run_at_most_once_that_is_cut_off_is_not_repeated(crew, notes, pool):
    hand = crew.hire("--concurrency", "1", "--shutdown-grace", "0", "--pool", pool)
    began, waiting = [chores.nap_once.delay(notes.path, 30) for _ in range(2)]
    notes.wait(1)

    assert hand.stop() == 0

    assert (status(began)["status"], status(began)["attempts"]) == ("failed", 1)
    assert "stopped" in status(began)["error"]
    assert (status(waiting)["status"], status(waiting)["attempts"]) == ("pending", 0)


def test_a_second_signal_hands_back_at_once(crew, notes):
    hand = crew.hire("--concurrency", "1")
    job = chores.hang.delay(notes.path)
    notes.wait(1)

    hand.send(signal.SIGTERM)
    wait_for(lambda: "stopping" in hand.log(), "the first to be heard")
    asked = time.monotonic()
    hand.send(signal.SIGTERM)

    assert hand.wait() == 0
    assert time.monotonic() - asked < 1.0
    assert (status(job)["status"], status(job)["attempts"]) == ("pending", 0)


def test_an_idle_worker_stops_at_once(crew):
    hand = crew.hire("--concurrency", "2")
    chores.add.delay(1, 2).result(timeout=5)

    asked = time.monotonic()

    assert hand.stop() == 0
    assert time.monotonic() - asked < 1.0
    assert "stopped" in hand.log().splitlines()[-1]


@pytest.mark.parametrize("task", [chores.hang, chores.spin_deaf, chores.hang_async])
def test_a_limit_holds_while_the_worker_stops(crew, notes, task):
    hand = crew.hire("--concurrency", "1")
    job = task.options(timeout=0.6).delay(notes.path)
    notes.wait(1)

    assert hand.stop() == 0

    assert status(job)["status"] == "failed"
    assert "TaskTimeout" in status(job)["error"]


def test_a_job_can_be_cancelled_while_the_worker_stops(crew, notes):
    hand = crew.hire("--concurrency", "1")
    job = chores.hang.delay(notes.path)
    notes.wait(1)
    hand.send(signal.SIGTERM)
    wait_for(lambda: "stopping" in hand.log(), "it to stop")

    job.cancel()

    assert hand.wait(5) == 0
    assert status(job)["status"] == "cancelled"


def test_a_handed_back_job_runs_in_the_next_worker(crew, notes):
    first = crew.hire("--concurrency", "1", "--shutdown-grace", "0")
    job = chores.nap.delay(notes.path, 0.5, "x")
    notes.wait(1)
    first.stop()

    crew.hire("--concurrency", "1")

    assert job.result(timeout=5) == "x"
    assert status(job)["attempts"] == 1


def test_a_burst_ends_when_the_queue_is_empty(crew, notes):
    plain = enqueue(chores.add.job(n, n) for n in range(300))
    slow = chores.nap_async.delay(notes.path, 0.4, "x")
    later = chores.add.options(delay=3600).delay(1, 2)

    hand = crew.hire("--burst", "--concurrency", "2")

    assert hand.wait() == 0
    assert {status(job)["status"] for job in (*plain, slow)} == {"done"}
    assert status(later)["status"] == "pending"
    assert monitoring.get_workers() == []


def test_a_burst_runs_what_its_jobs_queue(crew):
    job = chores.chain.delay(3)

    assert crew.hire("--burst", "--concurrency", "1").wait() == 0

    assert ended(job)["status"] == "done"
    assert [name for _, name, n in brokers.current().count() if n == 4] == ["done"]


def test_a_burst_with_nothing_to_do_ends_at_once(crew):
    assert crew.hire("--burst").wait(5) == 0


def test_a_worker_can_be_stopped_from_another_thread(crew):
    script = crew.script(
        """
import json, threading
import chores
from liteq import Worker, get_task_status

if __name__ == "__main__":
    job = chores.add.delay(1, 2)
    worker = Worker(concurrency=1)
    thread = threading.Thread(target=worker.run)
    thread.start()
    result = job.result(timeout=10)
    worker.stop()
    thread.join(10)
    print(json.dumps([result, thread.is_alive(), get_task_status(job)["status"]]))
"""
    )

    assert done(script) == [3, False, "done"]


def _running():
    return Filter(status="running")


def test_paused_worker_takes_nothing_until_it_is_to_go_on(crew):
    hand = crew.hire("--concurrency", "1")
    hand.send(signal.SIGUSR2)
    wait_for(lambda: "is paused" in hand.log(), "the worker to pause")
    job = chores.add.delay(1, 2)
    time.sleep(1.2)  # two of its looks at the queue

    assert status(job)["status"] == "pending"

    hand.send(signal.SIGCONT)

    assert job.result(timeout=10) == 3
