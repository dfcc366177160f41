"""The ways to run jobs: processes (forked or spawned, replaced when worn), threads, inline."""

import os
import time
from glob import glob

import chores
import pytest
from crew import APP, attempts, done, ended, status, wait_for

from liteq import enqueue, monitoring
from liteq.pools import marks

# ── processes that are spawned, or forked from a program that is at work already ──


def test_spawned_processes_run_jobs_of_every_kind_and_are_stopped_alike(crew, notes):
    hand = crew.hire("--concurrency", "2", env={"LITEQ_START_METHOD": "spawn"})
    jobs = [
        chores.add.delay(1, 2),
        chores.add_async.delay(1, 2),
        chores.length.delay("x" * 900_000),
        chores.spin_deaf.options(timeout=0.3).delay(notes.path),
        chores.vanish.delay(3),
    ]

    found = [ended(job) for job in jobs]

    assert [each["result"] for each in found] == [3, 3, 900_000, None, None]
    assert "TaskTimeout" in found[3]["error"]
    assert "exited with status 3" in found[4]["error"]
    assert chores.add.delay(1, 2).result(timeout=10) == 3
    assert hand.stop() == 0


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_program_that_has_used_its_database_can_be_a_worker(crew, method):
    script = crew.script(
        """
import json, os, sqlite3, threading
from liteq import task, get_task_status, Worker
from liteq.db import get_conn

@task()
def count() -> int:
    with get_conn() as connection:
        return connection.execute("SELECT count(*) FROM tasks").fetchone()[0]

@task()
def queue_one() -> int:
    return count.delay()

if __name__ == "__main__":
    kept = get_conn()
    kept.execute("SELECT 1 FROM tasks").fetchall()
    jobs = [count.delay() for _ in range(20)] + [queue_one.delay()]
    assert get_task_status(jobs[0])["status"] == "pending"
    Worker(concurrency=2, burst=True, start_method=os.environ["METHOD"]).run()
    rows = kept.execute("SELECT status, count(*) FROM tasks GROUP BY status").fetchall()
    check = kept.execute("PRAGMA integrity_check").fetchone()[0]
    kept.close()
    print(json.dumps([[tuple(row) for row in rows], check, jobs[0].result()]))
""",
        env={"METHOD": method},
    )

    assert done(script) == [[["done", 22]], "ok", 21]


def test_a_worker_at_the_end_of_an_unguarded_script_can_be_spawned(crew):
    """As the README writes it; a spawned process imports the script once more."""
    chores.add.delay(1, 2)
    script = crew.script(
        """
import json
from liteq import task, Worker, monitoring
from liteq.db import init_db

@task()
def add(a: int, b: int) -> int:
    return a + b

init_db()
worker = Worker(queues=["default"], concurrency=1, burst=True, start_method="spawn")
worker.run()
print(json.dumps(monitoring.get_queue_stats()))
"""
    )

    assert done(script) == [{"queue": "default", "status": "done", "count": 1}]


def test_where_the_system_has_no_pidfd_a_dead_process_is_noticed_as_well(crew, notes):
    app = crew.folder / "elsewhere.py"
    app.write_text("import os\ndel os.pidfd_open\nfrom chores import *\n")
    hand = crew.hire("--concurrency", "2", app=app, env={"PYTHONPATH": os.path.dirname(APP)})
    before = set(hand.children())

    calls = [
        (chores.vanish, 7),
        (chores.spin_deaf.options(timeout=0.3), notes.path),
        (chores.hang_async_stubbornly.options(timeout=0.3), notes.path),
    ]
    found = [ended(task.delay(argument), seconds=5) for task, argument in calls]

    assert "exited with status 7" in found[0]["error"]
    assert "TaskTimeout" in found[1]["error"]
    assert "TaskTimeout" in found[2]["error"]
    assert chores.add.delay(1, 2).result(timeout=5) == 3
    wait_for(lambda: len(hand.children()) == 2, "two processes again")
    assert set(hand.children()) != before
    start = hand.cpu_seconds()
    time.sleep(0.5)
    assert hand.cpu_seconds() - start < 0.1
    assert hand.stop() == 0


# ── replaced when worn ──


def test_a_process_is_replaced_after_so_many_jobs(crew):
    hand = crew.hire("--concurrency", "1", "--max-jobs", "5")

    pids = [chores.pid.delay() for _ in range(20)]
    pids = [job.result(timeout=20) for job in pids]

    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [5, 5, 5, 5]
    assert "WARNING" not in hand.log()
    assert hand.stop() == 0


def test_a_process_of_coroutines_is_replaced_as_well(crew, notes):
    hand = crew.hire("--concurrency", "1", "--max-jobs", "5")
    first = set(hand.children())

    jobs = enqueue(chores.nap_async.job(notes.path, 0.05) for _ in range(40))

    for job in jobs:
        job.result(timeout=20)
    wait_for(lambda: hand.children() and not first & set(hand.children()), "another process")
    assert {status(job)["attempts"] for job in jobs} == {1}
    assert hand.stop() == 0


def test_a_process_that_has_grown_is_replaced(crew):
    hand = crew.hire("--concurrency", "1", "--max-memory-mb", "150")

    pids = [chores.grow.delay(megabytes).result(timeout=10) for megabytes in (1, 1, 200, 1)]

    assert pids[0] == pids[1] == pids[2] != pids[3]
    assert hand.stop() == 0


def test_a_worn_process_with_a_long_coroutine_does_not_hold_up_the_others(crew, notes):
    hand = crew.hire("--concurrency", "1", "--max-jobs", "3")
    long = chores.nap_async.delay(notes.path, 3, "long")
    notes.wait(1)

    jobs = enqueue(chores.add.job(1, 2) for _ in range(10))
    for job in jobs:
        job.result(timeout=2)

    assert status(long)["status"] == "running"
    assert long.result(timeout=5) == "long"
    assert status(long)["attempts"] == 1
    assert hand.stop() == 0


# ── what was claimed ahead ──


@pytest.mark.parametrize("pool", ["processes", "threads"])
def test_a_job_that_was_claimed_ahead_can_be_cancelled(crew, notes, pool):
    hand = crew.hire("--pool", pool, "--concurrency", "1")
    enqueue([chores.add.job(1, 2) for _ in range(1000)])  # so that it claims ahead
    chores.nap.delay(notes.path, 1.0, "x")
    waiting = [chores.note.delay(notes.path, text) for text in ("never", "later")]
    notes.wait(1)

    assert waiting[0].cancel()

    assert ended(waiting[0])["status"] == "cancelled"
    waiting[1].result(timeout=5)
    assert hand.stop() == 0
    assert notes.lines() == ["begin x", "end x", "later"]


def test_an_app_of_coroutines_alone_runs(crew, notes):
    app = crew.folder / "coroutines.py"
    app.write_text("from liteq import task\n@task()\nasync def add(a, b): return a + b\n")
    hand = crew.hire("--concurrency", "2", app=app)

    jobs = enqueue([chores.add.job(n, 1) for n in range(300)])

    assert [job.result(timeout=10) for job in jobs] == list(range(1, 301))
    assert hand.stop() == 0


@pytest.mark.parametrize(("size", "count"), [(40_000, 200), (900_000, 60)])
def test_more_large_jobs_than_the_ways_to_the_processes_hold_all_arrive(crew, size, count):
    hand = crew.hire("--concurrency", "2")
    enqueue([chores.add.job(1, 2) for _ in range(1000)])  # so that it claims ahead

    jobs = enqueue([chores.length.job("x" * (size + n)) for n in range(count)])

    assert [job.result(timeout=20) for job in jobs] == [size + n for n in range(count)]
    assert {status(job)["attempts"] for job in jobs} == {1}
    assert hand.stop() == 0


def test_few_large_jobs_are_on_their_way_at_a_time(crew, notes):
    enqueue([chores.add.job(1, 2) for _ in range(1500)])
    chores.nap.delay(notes.path, 0.4)
    jobs = enqueue([chores.length.job("x" * 900_000) for _ in range(60)])
    hand = crew.hire("--concurrency", "1")
    [worker] = monitoring.get_active_workers()
    files = marks.spill_path(worker["worker_id"], 0).replace("-0.", "-*.")

    most = 0
    while status(jobs[-1])["status"] != "done":
        most = max(most, len(glob(files)))

    assert 0 < most < 15
    assert [job.result() for job in jobs] == [900_000] * 60
    assert hand.stop() == 0
    assert glob(files) == []


# ── threads ──


@pytest.fixture(scope="module")
def threads(shared_crew):
    hand = shared_crew.hire("--pool", "threads", "--concurrency", "3")
    yield hand
    assert hand.stop() == 0


def test_threads_say_what_they_cannot_do(threads):
    [warning] = [line for line in threads.log().splitlines() if "WARNING" in line][:1]

    assert "cannot be stopped" in warning
    assert "time limits" in warning
    assert "cancel" in warning
    assert "--pool processes" in warning


def test_threads_run_jobs_in_the_workers_own_process(threads):
    job = chores.whereabouts.delay()

    assert job.result(timeout=5)["pid"] == threads.pid
    assert job.result()["id"] == job
    assert threads.children() == []


def test_threads_run_jobs_of_both_kinds_side_by_side(threads, notes):
    jobs = [chores.nap.delay(notes.path, 0.5, str(n)) for n in range(3)]
    jobs += [chores.nap_async.delay(notes.path, 0.5, str(n)) for n in range(30)]

    began = time.monotonic()
    lines = notes.wait(33)

    assert time.monotonic() - began < 0.5
    assert all(line.startswith("begin") for line in lines)
    assert [job.result(timeout=5) for job in jobs] == [str(n) for n in (*range(3), *range(30))]


def test_threads_report_failures_like_processes(threads):
    for task in (chores.fail, chores.fail_async):
        job = task.options(max_retries=1).delay("no")
        assert ended(job)["error"] == "ValueError: no"
        assert status(job)["attempts"] == 2
        assert "chores.py" in attempts(job)[0].traceback
    for task, words in (
        (chores.leave, "SystemExit: enough"),
        (chores.interrupt, "KeyboardInterrupt"),
        (chores.return_something_odd, "EncodingError"),
    ):
        assert words in ended(task.delay())["error"]


def test_threads_run_a_crowd(threads):
    jobs = enqueue([chores.add.job(n, 1) for n in range(500)])
    jobs += enqueue([chores.add_async.job(n, 1) for n in range(500)])

    assert [job.result(timeout=20) for job in jobs] == [*range(1, 501), *range(1, 501)]


def test_a_coroutine_past_its_limit_is_stopped_in_a_thread_too(threads, notes):
    found = ended(chores.hang_async.options(timeout=0.4).delay(notes.path), seconds=3)

    assert found["status"] == "failed"
    assert "TaskTimeout" in found["error"]
    assert "0.4 seconds" in found["error"]


def test_a_coroutine_is_cancelled_in_a_thread_too(threads, notes):
    job = chores.hang_async.delay(notes.path)
    notes.wait(1)

    job.cancel()

    assert ended(job, seconds=3)["status"] == "cancelled"


def test_a_plain_function_past_its_limit_goes_on_and_is_told_of_once(threads, notes):
    job = chores.nap.options(timeout=0.2).delay(notes.path, 1.2, "x")

    assert job.result(timeout=5) == "x"

    told = [line for line in threads.log().splitlines() if f"job {job} " in line]
    assert len([line for line in told if "past its limit of 0.2 seconds" in line]) == 1
    assert status(job)["status"] == "done"


def test_a_cancel_that_a_thread_cannot_obey_is_told_of(threads, notes):
    job = chores.nap.delay(notes.path, 1.2, "x")
    notes.wait(1)

    assert job.cancel()
    for _ in range(5):  # others may go on working, and asking
        time.sleep(0.2)
        chores.add.delay(1, 2).result(timeout=5)

    assert job.result(timeout=5) == "x"
    assert threads.log().count(f"job {job} nap cannot be stopped") == 1


def test_a_worker_of_threads_leaves_even_if_a_thread_never_ends(crew, notes):
    hand = crew.hire("--pool", "threads", "--concurrency", "2", "--shutdown-grace", "0.3")
    jobs = [
        chores.hang.delay(notes.path),
        chores.hang_async.delay(notes.path),
        chores.hang_async_stubbornly.delay(notes.path),
        chores.hang_in_a_thread.delay(notes.path),
    ]
    notes.wait(4)
    asked = time.monotonic()

    assert hand.stop() == 0

    assert time.monotonic() - asked < 3
    for job in jobs:
        assert (status(job)["status"], status(job)["attempts"]) == ("pending", 0)
    assert monitoring.get_workers() == []


def test_a_worker_of_threads_lets_running_jobs_end(crew, notes):
    hand = crew.hire("--pool", "threads", "--concurrency", "1")
    jobs = [chores.nap.delay(notes.path, 0.6, "a"), chores.nap_async.delay(notes.path, 0.6, "b")]
    notes.wait(2)
    waiting = enqueue([chores.add.job(1, 2) for _ in range(5)])

    assert hand.stop() == 0

    assert [status(job)["status"] for job in jobs] == ["done", "done"]
    assert {(status(job)["status"], status(job)["attempts"]) for job in waiting} == {("pending", 0)}


def test_what_a_killed_worker_of_threads_had_not_begun_is_not_charged(crew, notes):
    doomed = crew.hire("--pool", "threads", "--concurrency", "1")
    enqueue([chores.add.job(1, 2) for _ in range(1000)])
    once = [chores.nap_once.delay(notes.path, seconds) for seconds in (30, 0, 0)]
    notes.wait(1)

    doomed.kill()
    crew.hire("--concurrency", "1")

    assert [ended(job)["status"] for job in once] == ["failed", "done", "done"]
    assert "died" in status(once[0])["error"]


# ── inline ──


def test_inline_runs_one_job_at_a_time_in_the_workers_main_thread(crew, notes):
    jobs = [
        chores.nap.delay(notes.path, 0.05, "a"),
        chores.nap_async.delay(notes.path, 0.05, "b"),
        chores.fail.options(max_retries=0).delay("no"),
        chores.whereabouts.delay(),
    ]

    hand = crew.hire("--pool", "inline", "--burst")

    assert hand.wait() == 0
    assert notes.lines() == ["begin a", "end a", "begin b", "end b"]
    assert [status(job)["status"] for job in jobs] == ["done", "done", "failed", "done"]
    assert jobs[3].result()["pid"] == hand.pid


def test_inline_lets_the_debugger_ask(crew):
    process = crew.script(
        """
import pdb, sys
from liteq import task, Worker, get_task_status

@task(max_retries=0)
def puzzle(a: int) -> int:
    breakpoint()
    return a * 2

job = puzzle.delay(21)
Worker(pool="inline", burst=True).run()
print("result", get_task_status(job)["result"])
"""
    )
    out, err = process.communicate("p a * 1000\nc\n", timeout=20)

    assert process.returncode == 0, err
    assert "21000" in out
    assert out.endswith("result 42\n")


def test_inline_says_that_limits_are_not_enforced(crew, notes):
    job = chores.nap.options(timeout=0.1).delay(notes.path, 0.4, "x")

    hand = crew.hire("--pool", "inline", "--burst", "--timeout", "5")

    assert hand.wait() == 0
    assert status(job)["status"] == "done"
    assert "time limits are not enforced" in hand.log()


def test_inline_heeds_a_stop_between_two_jobs(crew, notes):
    jobs = [chores.nap.delay(notes.path, 0.5) for _ in range(3)]
    hand = crew.hire("--pool", "inline")
    notes.wait(1)

    assert hand.stop() == 0

    assert [status(job)["status"] for job in jobs] == ["done", "pending", "pending"]
