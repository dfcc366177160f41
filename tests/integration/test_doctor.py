"""Why is my task not running? Each fault is made for real, and has to be found."""

import os
import sqlite3
import subprocess
import sys

import pytest

from liteq import brokers, doctor, findings, lifecycle, machine, registry, task
from liteq.brokers.sqlite import checkup, filesystem
from liteq.job import Filter, NewJob, Outcome, WorkerInfo


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory without any queue, in a program without any task."""
    monkeypatch.setattr(registry, "_definitions", {})
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LITEQ_URL", raising=False)
    monkeypatch.setenv("LITEQ_DB", str(tmp_path / "q.db"))
    yield tmp_path
    for store in brokers._open.values():
        store.close()


@pytest.fixture
def store(place):
    store = brokers.current()
    store.count()
    return store


@pytest.fixture
def gone():
    """The pid and birth of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    born = machine.born(process.pid)
    process.stdin.close()
    process.wait()
    return {"pid": process.pid, "born": born}


@pytest.fixture
def app(place):
    """A registered task `add`."""

    @task(name="add")
    def add():
        pass


def start_worker(store, name="w1", receipts=(), **facts):
    pid = os.getpid()
    usual = {
        "worker_id": name,
        "hostname": "host",
        "queues": ("default",),
        "concurrency": 4,
        "pid": pid,
        "machine": machine.identity(),
        "born": machine.born(pid),
        "started": store.clock.wall(),
    }
    store.beat(WorkerInfo(**{**usual, **facts}), receipts, 30)


def enqueue(store, **options):
    return store.enqueue([NewJob(**{"name": "add", "payload": "{}", **options})])[0]


def fail(store, *, final, wait=60.0):
    [job] = store.claim("w1", ["default"], 1, 30)
    outcome = Outcome(
        job.receipt, "failed", store.clock.wall(), store.clock.wall(), error="ValueError: x"
    )
    outcome = outcome._replace(final=final)
    store.finish([lifecycle.failed(job, outcome, wait, store.clock.wall())])


def later(store, seconds):
    """Let the wall clock be so much ahead."""

    class Clock(type(store.clock)):
        def wall(self):
            return super().wall() + seconds

    store.clock = Clock()


def found(title, id=None):
    """The one finding with this title."""
    [finding] = [finding for finding in doctor.examine(id) if finding.title == title]
    return finding


def titles(level):
    return [finding.title for finding in doctor.examine() if finding.level == level]


# ── the place ──


def test_a_healthy_queue_has_no_fault(store, place):
    start_worker(store)
    enqueue(store)

    examined = doctor.examine()

    assert {finding.level for finding in examined} == {"ok"}
    assert doctor.summary(examined) == "all is well"
    assert found("Database").detail == f"{place}/q.db (named by LITEQ_DB)"
    assert found("Workers").detail == "1 worker with 4 slots"


def test_a_missing_database_is_a_fault_and_is_not_made(place):
    examined = doctor.examine(7)

    assert [finding.title for finding in examined if finding.level == "fault"] == ["Database"]
    assert f"there is no file {place}/q.db" in examined[-1].detail
    assert doctor.summary(examined) == "1 fault: Database"
    assert not os.path.exists("q.db")


def test_a_missing_folder_is_a_fault(place, monkeypatch):
    monkeypatch.setenv("LITEQ_DB", "nowhere/q.db")

    assert f"there is no folder {place}/nowhere" in doctor.examine()[-1].detail


def test_the_default_place_is_named_as_such(store, monkeypatch):
    monkeypatch.delenv("LITEQ_DB")

    assert doctor.examine()[0].detail.endswith(
        "(the default, as neither LITEQ_DB nor LITEQ_URL is set)"
    )


def test_a_bad_url_is_a_fault(place, monkeypatch):
    monkeypatch.setenv("LITEQ_URL", "mysql://x")

    [finding] = doctor.examine(1)

    assert (finding.level, finding.title) == ("fault", "Database")
    assert "no broker for the URL 'mysql://x'" in finding.detail


def test_a_store_without_a_file_is_examined_too(place, monkeypatch):
    monkeypatch.setenv("LITEQ_URL", "memory://doctor")

    assert [finding.title for finding in doctor.examine()] == ["Database", "Clock", "Workers"]


@pytest.mark.parametrize("other", ["../liteq.db", "sub/q.db", "sub/deeper/liteq.db", "liteq.db"])
def test_a_database_near_by_is_pointed_out(store, place, other):
    path = place / other
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.touch()

        finding = found("Other databases")

        assert finding.level == "warn"
        assert os.path.realpath(path) in finding.detail
    finally:
        path.unlink()


def test_a_database_near_by_is_pointed_out_even_where_none_is_yet(place):
    (place / "liteq.db").touch()

    assert [finding.title for finding in doctor.examine()][-2:] == ["Database", "Other databases"]


def test_a_database_in_a_hidden_folder_is_nobodys_business(store, place):
    (place / ".cache").mkdir()
    (place / ".cache/q.db").touch()

    assert "Other databases" not in titles("warn")


def test_a_damaged_file_is_a_fault(store, place):
    for _ in range(200):
        enqueue(store, payload='{"args": ["' + "x" * 500 + '"]}')
    store.close()
    with open("q.db", "r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\xff" * 4096 * 20)

    [finding] = [f for f in doctor.examine() if f.title == "Content"]

    assert finding.level == "fault"
    assert finding.remedy


def test_a_file_that_is_no_database_is_a_fault(place):
    (place / "q.db").write_bytes(b"no database" * 1000)

    finding = doctor.examine()[-1]

    assert (finding.level, finding.title) == ("fault", "Content")
    assert "cannot be read as a SQLite database" in finding.detail


def test_a_newer_schema_is_a_fault(store):
    store.database.run(lambda connection: connection.execute("PRAGMA user_version = 1000"))
    store.close()

    finding = found("Schema")

    assert finding.level == "fault"
    assert "upgrade" in finding.remedy


def test_an_older_file_is_not_migrated_by_looking(place):
    with sqlite3.connect("q.db") as connection:
        connection.execute("CREATE TABLE tasks (id INTEGER PRIMARY KEY, name TEXT)")
    connection.close()

    details = [finding.detail for finding in checkup.check(str(place / "q.db"))]

    assert any("version 0; brought up to" in detail for detail in details)
    with sqlite3.connect("q.db") as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (0,)
    connection.close()


def test_a_large_file_is_not_read_through(store, monkeypatch):
    monkeypatch.setattr(checkup, "_CHECKED_BYTES", 10)

    assert found("Content").detail.startswith("not checked: ")


def test_a_folder_for_a_database_is_a_fault(place):
    (place / "q.db").mkdir()

    assert "q.db is no file" in doctor.examine()[-2].detail


def test_missing_permissions_are_a_fault(store, monkeypatch):
    """Tests may run as root, whom no mode stops: so the system's answer is put in its place."""
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)

    finding = found("Permissions")

    assert finding.level == "fault"
    assert "may not write the file, nor write its folder" in finding.detail


def test_a_network_file_system_is_a_fault(store, monkeypatch):
    monkeypatch.setattr(filesystem, "kind_of", lambda path: "nfs4")

    assert "network file system (nfs4)" in found("File system").detail


def test_an_old_sqlite_is_a_fault(store, monkeypatch):
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))

    assert found("SQLite").level == "fault"


@pytest.mark.parametrize(("free", "level"), [(10**6, "fault"), (10**8, "warn"), (10**10, "ok")])
def test_disk_space_is_watched(store, monkeypatch, free, level):
    real = os.statvfs("/")

    class Status:
        f_bavail, f_frsize = free // real.f_frsize, real.f_frsize

    monkeypatch.setattr(os, "statvfs", lambda path: Status)

    assert found("Disk space").level == level


# ── the queue ──


def test_without_a_worker_waiting_jobs_are_one_fault(store):
    enqueue(store)
    enqueue(store, queue="mail")

    assert titles("fault") == ["Workers"]
    assert found("Workers").detail == "no worker is running, and 2 jobs wait"


def test_without_jobs_a_missing_worker_is_a_warning(store):
    assert titles("warn") == ["Workers"]
    assert doctor.summary(doctor.examine()) == "no fault, 1 warning: Workers"


def test_a_queue_that_no_worker_listens_on_is_a_fault(store):
    start_worker(store, queues=("mail", "reports"))
    enqueue(store)

    finding = found("Queue default")

    assert finding.level == "fault"
    assert "no running worker listens on it (they listen on mail, reports)" in finding.detail
    assert finding.remedy == "liteq worker --app tasks.py --queues default"


def test_rows_of_other_programs_count_as_waiting(store):
    from liteq.db import get_conn

    start_worker(store, queues=("mail",))
    with get_conn() as connection:
        connection.execute("INSERT INTO tasks (name, queue) VALUES ('add', 'sql')")
    connection.close()

    assert found("Queue sql").level == "fault"


def test_a_paused_queue_with_due_jobs_is_a_fault_and_without_a_warning(store):
    start_worker(store)
    enqueue(store)
    store.pause("default")
    store.pause("mail")

    assert found("Queue default").level == "fault"
    assert found("Queue default").remedy == "liteq resume default"
    assert found("Queue mail").level == "warn"


def test_a_remedy_can_be_pasted_whatever_the_queue_is_called(store):
    start_worker(store)
    enqueue(store, queue="a b")

    assert found("Queue a b").remedy.endswith("--queues 'a b'")


def test_busy_slots_are_a_warning_once_jobs_wait_for_long(store):
    enqueue(store)
    enqueue(store)
    [job] = store.claim("w1", ["default"], 1, 30)
    start_worker(store, concurrency=1, receipts=[job.receipt])
    assert "Slots" not in titles("warn")

    later(store, 10)

    assert "every slot is busy" in found("Slots").detail


def test_a_task_that_the_app_does_not_define_is_a_fault(store, app):
    start_worker(store)
    enqueue(store, name="ad")
    enqueue(store)

    assert found("Task ad").detail == "1 job waits for it, but the app does not define it"
    assert "@task(name='ad')" in found("Task ad").remedy


def test_an_app_that_defines_all_tasks_is_well(store, app):
    enqueue(store)

    assert found("Task names").level == "ok"


def test_delayed_jobs_are_told_with_the_next_one(store):
    for seconds in (7200, 3600):
        enqueue(store, due=store.clock.wall() + seconds + 5)

    assert found("Delayed jobs").detail == "2 jobs for later, the next in 1 h"


def test_a_clock_that_is_behind_is_a_warning(store):
    enqueue(store)
    later(store, -3600)

    finding = found("Clock")

    assert finding.level == "warn"
    assert "1 h in the future" in finding.detail


def test_failed_jobs_are_a_warning_with_the_commonest_error(store):
    enqueue(store)
    enqueue(store)
    fail(store, final=True)
    fail(store, final=False)

    assert found("Failed jobs").detail == "1 job failed in the last day; 1 × add: ValueError: x"
    assert found("Failed jobs").remedy == "liteq show 1"
    assert found("Failing jobs").remedy == "liteq show 2"


def test_failures_of_long_ago_are_no_news(store):
    enqueue(store)
    fail(store, final=True)
    later(store, 86401)

    assert "Failed jobs" not in titles("warn")


def test_jobs_of_a_dead_worker_are_a_fault_only_while_nobody_takes_over(store, gone):
    enqueue(store)
    [job] = store.claim("dead", ["default"], 1, 30)
    start_worker(store, "dead", receipts=[job.receipt], **gone)

    finding = found("Dead worker")
    assert finding.level == "fault"
    assert finding.detail.startswith("worker dead is dead and still holds 1 job")

    start_worker(store)
    assert found("Dead worker").level == "warn"


# ── one job ──


def test_an_unknown_job_is_a_fault(store):
    finding = found("Job 99", 99)

    assert finding.level == "fault"
    assert "no such job" in finding.detail


def test_the_summary_is_about_the_job_that_was_asked_for(store):
    id = enqueue(store)

    assert doctor.summary(doctor.examine(id)) == "Job 1: it is due, but no worker is running"


def test_a_delayed_job_waits_for_its_time(store):
    id = enqueue(store, due=store.clock.wall() + 3605)

    assert found("Job 1", id) == findings.ok("Job 1", "it is to run in 1 h")


def test_a_job_between_two_runs_tells_the_last_error(store):
    id = enqueue(store)
    fail(store, final=False, wait=3605)

    assert found("Job 1", id).detail == "run 1 failed (ValueError: x); it runs again in 1 h"


def test_a_job_of_a_paused_queue(store):
    start_worker(store)
    id = enqueue(store)
    store.pause("default")

    assert found("Job 1", id).detail == "its queue 'default' was paused now"
    assert found("Job 1", id).remedy == "liteq resume default"


def test_a_job_whose_task_nobody_defines(store, app):
    start_worker(store)
    id = enqueue(store, name="ad")

    assert found("Job 1", id).detail == "the app defines no task 'ad'"


def test_a_job_whose_queue_nobody_listens_on(store):
    start_worker(store, queues=("mail",))
    id = enqueue(store)

    finding = found("Job 1", id)

    assert finding.level == "fault"
    assert "listens on its queue 'default' (they listen on mail)" in finding.detail


def test_a_job_behind_others(store):
    enqueue(store)
    id = enqueue(store)
    [job] = store.claim("w1", ["default"], 1, 30)
    start_worker(store, concurrency=1, receipts=[job.receipt])

    assert found("Job 2", id).detail.startswith("it waits in line")


def test_a_job_that_a_free_worker_leaves_alone_is_strange(store):
    start_worker(store)
    id = enqueue(store)
    assert found("Job 1", id).level == "ok"

    later(store, 10)

    assert found("Job 1", id).level == "warn"
    assert "worker's log" in found("Job 1", id).remedy


def test_a_running_job_names_its_worker(store):
    id = enqueue(store)
    [job] = store.claim("w1", ["default"], 1, 30)
    start_worker(store, receipts=[job.receipt])

    assert found("Job 1", id).level == "ok"
    assert found("Job 1", id).detail.endswith("on worker w1")


def test_a_running_job_of_a_dead_worker_is_a_fault(store, gone):
    id = enqueue(store)
    [job] = store.claim("w1", ["default"], 1, 30)
    start_worker(store, receipts=[job.receipt], **gone)

    finding = found("Job 1", id)

    assert finding.level == "fault"
    assert "on worker w1, which is dead" in finding.detail


def test_ended_jobs_say_how(store):
    for _ in range(3):
        enqueue(store)
    fail(store, final=True)
    [job] = store.claim("w1", ["default"], 1, 30)
    now = store.clock.wall()
    store.finish([lifecycle.succeeded(job, Outcome(job.receipt, "done", now, now, "1"))])
    store.cancel(Filter(ids=(3,)))

    assert doctor_says(1) == ("fault", "it failed now, after 1 run: ValueError: x")
    assert doctor_says(2) == ("ok", "it is done; it ended now")
    assert doctor_says(3) == ("ok", "it was cancelled now: cancelled before it ran")


def doctor_says(id):
    finding = found(f"Job {id}", id)
    return finding.level, finding.detail


# ── the command ──


def run_doctor(cwd, *argv):
    return subprocess.run(
        [sys.executable, "-m", "liteq", "doctor", *argv],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_the_command_knows_the_tasks_of_the_app(store, place):
    (place / "tasks.py").write_text("from liteq import task\n@task()\ndef add(): pass\n")
    enqueue(store, name="ad")

    run = run_doctor(place, "--app", "tasks.py")

    assert run.returncode == 1
    assert run.stdout.startswith("ok\tApp\ttasks.py is loaded\t\n")
    assert "fault\tTask ad\t1 job waits for it" in run.stdout
    assert run.stdout.endswith("summary\t2 faults: Workers, Task ad\n")


@pytest.mark.parametrize(
    ("code", "words"),
    [("1 / 0", "ZeroDivisionError: division by zero"), (None, "there is no file")],
)
def test_an_app_that_cannot_be_loaded_is_a_finding_among_others(store, place, code, words):
    if code:
        (place / "tasks.py").write_text(code)

    run = run_doctor(place, "--app", "tasks.py")

    lines = run.stdout.splitlines()
    assert run.returncode == 1
    assert lines[0].startswith("fault\tApp\t")
    assert words in lines[0]
    assert len(lines) > 5
    assert run.stderr == ""


def test_the_command_is_content_with_a_healthy_queue(store, place):
    start_worker(store)
    store.close()

    assert run_doctor(place).returncode == 0
