"""A worker whose database is in trouble: it waits, says so, and goes on; nothing is lost."""

import os
import shutil
import sqlite3
import subprocess
import tempfile
import time

import chores
import pytest
from crew import done, ended, instant, status, wait_for

from liteq import brokers, enqueue
from liteq.errors import BrokerCorrupt, BrokerFull, BrokerUnavailable

# As LiteQ 0.2 made its tables and wrote its rows.
OLD_SCHEMA = """
CREATE TABLE tasks (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, payload TEXT NOT NULL,
    queue TEXT NOT NULL DEFAULT 'default', status TEXT NOT NULL DEFAULT 'pending',
    priority INTEGER DEFAULT 0, attempts INTEGER DEFAULT 0, max_retries INTEGER DEFAULT 3,
    worker_id TEXT, run_at TIMESTAMP, created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    started_at TIMESTAMP, finished_at TIMESTAMP, result TEXT, error TEXT, timeout INTEGER);
CREATE TABLE workers (
    worker_id TEXT PRIMARY KEY, hostname TEXT, queues TEXT, concurrency INTEGER,
    last_heartbeat TIMESTAMP DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE schedules (
    id INTEGER PRIMARY KEY AUTOINCREMENT, task_name TEXT NOT NULL, cron_expr TEXT NOT NULL,
    payload TEXT NOT NULL, queue TEXT NOT NULL DEFAULT 'default', enabled INTEGER DEFAULT 1,
    last_run TIMESTAMP, next_run TIMESTAMP, created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP);
CREATE INDEX idx_tasks_status ON tasks (status, queue, priority);
"""
CALL = '{"args": [1], "kwargs": {"b": 2}}'


LONG_AGO = "2020-01-31 09:00:00"  # a done job of ours would be pruned at that age


def test_a_file_of_liteq_0_2_keeps_its_rows_and_runs_its_pending_ones(crew):
    path = os.environ["LITEQ_DB"]
    with sqlite3.connect(path) as old:
        old.executescript(OLD_SCHEMA)
        old.executemany(
            "INSERT INTO tasks (name, payload, status, attempts, worker_id, run_at, created_at,"
            " started_at, finished_at, result, error) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                ("add", CALL, "done", 1, "w1", None, *(LONG_AGO,) * 3, "3", None),
                ("add", CALL, "failed", 4, "w1", None, *(LONG_AGO,) * 3, None, "no"),
                ("add", CALL, "pending", 0, None, None, "2026-01-31 09:00:00", *(None,) * 4),
                ("add", CALL, "pending", 1, None, "2026-01-31T09:00:00.123456", *(None,) * 5),
                ("add", CALL, "pending", 0, None, "2099-01-31T09:00:00.123456", *(None,) * 5),
                ("add", CALL, "pending", 0, None, "2026-01-31 09:00:00", *(None,) * 5),
                ("add", CALL, "running", 1, "w1", None, *(LONG_AGO,) * 2, *(None,) * 3),
            ],
        )
        old.execute(
            "INSERT INTO workers (worker_id, hostname, queues) VALUES ('w1', 'h', 'default')"
        )
        old.execute(
            "INSERT INTO schedules (task_name, cron_expr, payload)"
            " VALUES ('add', '* * * * *', '{}')"
        )
    old.close()

    hand = crew.hire("--concurrency", "1")
    new = chores.add.delay(2, 2)
    for id in (3, 4, 6, 7):
        ended(id)

    assert new.result(timeout=5) == 4
    assert [status(id)["status"] for id in range(1, 9)] == [
        *("done", "failed", "done", "done", "pending", "done", "done", "done")
    ]
    assert status(1)["result"] == 3
    assert status(2)["error"] == "no"
    assert instant(status(1)["created_at"]) == instant(LONG_AGO)
    assert [status(id)["attempts"] for id in (4, 7)] == [2, 2]
    assert status(5)["run_at"].startswith("2099-01-")
    assert hand.stop() == 0
    with sqlite3.connect(path) as after:
        assert after.execute("SELECT count(*) FROM schedules").fetchone() == (1,)
    after.close()


def test_a_database_deleted_under_a_running_worker_is_made_anew(crew):
    hand = crew.hire("--concurrency", "1")
    chores.add.delay(1, 2).result(timeout=5)

    for end in ("", "-wal", "-shm"):
        os.unlink(os.environ["LITEQ_DB"] + end)

    assert chores.add.delay(2, 2).result(timeout=5) == 4
    assert hand.stop() == 0
    assert brokers.current().workers() == []


def test_a_database_replaced_under_a_running_worker_is_noticed(crew, tmp_path):
    hand = crew.hire("--concurrency", "1")
    chores.add.delay(1, 2).result(timeout=5)
    brokers.current().close()
    other = str(tmp_path / "other.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LITEQ_DB", other)
        job = chores.add.delay(2, 2)
        brokers.current().close()

    # With the -wal of another file beside it, any SQLite database is lost: so not `mv` alone.
    for end in ("", "-wal", "-shm"):
        os.unlink(os.environ["LITEQ_DB"] + end)
    os.rename(other, os.environ["LITEQ_DB"])

    wait_for(lambda: status(job)["status"] == "done", "the job of the new file")
    assert hand.stop() == 0
    check(os.environ["LITEQ_DB"])


def test_a_job_that_was_running_when_its_database_went_ends_quietly(crew, notes):
    hand = crew.hire("--concurrency", "1")
    chores.nap.delay(notes.path, 0.5)
    notes.wait(1)
    for end in ("", "-wal", "-shm"):
        os.unlink(os.environ["LITEQ_DB"] + end)

    notes.wait(2)
    wait_for(lambda: "refused" in hand.log() or "lease" in hand.log(), "its discovery")

    assert chores.add.delay(2, 2).result(timeout=5) == 4
    assert hand.stop() == 0


@pytest.mark.parametrize(
    "content", [b"this is no database at all, but a text\n" * 99, b"\0" * 9999]
)
def test_a_file_that_is_no_database_is_refused_and_left_alone(crew, content):
    path = os.environ["LITEQ_DB"]
    with open(path, "wb") as file:
        file.write(content)

    hand = crew.hire(wait=False)

    assert hand.wait() == 1
    assert path in hand.log()
    assert "not a usable SQLite database" in hand.log()
    assert "Traceback" not in hand.log()
    with pytest.raises(BrokerCorrupt, match=path):
        chores.add.delay(1, 2)
    with open(path, "rb") as file:
        assert file.read() == content


def test_a_missing_folder_is_named(crew, monkeypatch, tmp_path):
    monkeypatch.setenv("LITEQ_DB", str(tmp_path / "no" / "liteq.db"))

    hand = crew.hire(wait=False)

    assert hand.wait() == 1
    assert f"there is no folder {tmp_path / 'no'}" in hand.log()
    with pytest.raises(BrokerUnavailable, match="there is no folder"):
        chores.add.delay(1, 2)


def test_a_folder_in_place_of_the_file_is_named(crew, monkeypatch, tmp_path):
    monkeypatch.setenv("LITEQ_DB", str(tmp_path))

    assert crew.hire(wait=False).wait() == 1
    with pytest.raises(BrokerUnavailable, match="it is a folder"):
        chores.add.delay(1, 2)


@pytest.fixture
def public_folder():
    """A folder that every user can reach, as pytest's own are not."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield folder


def test_a_read_only_file_is_named(crew, need, public_folder, monkeypatch):
    need(os.geteuid() == 0, "root, to run a worker as another user")
    path = f"{public_folder}/liteq.db"
    monkeypatch.setenv("LITEQ_DB", path)
    chores.add.delay(1, 2)
    brokers.current().close()
    os.chmod(path, 0o444)

    # Root may write anything, so it must be somebody else.
    script = crew.script(
        """
import json, os
import chores
from liteq import BrokerError, Worker
path, os.environ["LITEQ_DB"] = os.environ["LITEQ_DB"], "scratch.db"
chores.add.delay(1, 2)  # that user may not be able to read the modules, so load them all
Worker(concurrency=1, burst=True).run()
os.environ["LITEQ_DB"] = path
os.setgid(65534)
os.setuid(65534)
said = []
for act in (lambda: chores.add.delay(1, 2), Worker(concurrency=1).run):
    try:
        act()
    except BrokerError as error:
        said.append([type(error).__name__, str(error)])
print(json.dumps(said))
"""
    )
    for name, text in done(script):
        assert name == "BrokerReadOnly"
        assert path in text
        assert "folder" in text


def test_a_lock_held_long_by_another_program_is_waited_out(crew):
    hand = crew.hire("--concurrency", "1")
    other = sqlite3.connect(os.environ["LITEQ_DB"], isolation_level=None)
    job = chores.add.delay(1, 2)
    job.result(timeout=5)

    other.execute("BEGIN IMMEDIATE")
    start = hand.cpu_seconds(), time.monotonic()
    time.sleep(1.5)
    busy = (hand.cpu_seconds() - start[0]) / (time.monotonic() - start[1])
    other.execute("COMMIT")
    other.close()

    assert busy < 0.3
    assert chores.add.delay(2, 2).result(timeout=5) == 4
    assert "locked" not in hand.log()
    assert hand.stop() == 0


# ── a full disk ──


@pytest.fixture
def small_disk(tmp_path, need):
    """A disk of 2 MB of the test's own."""
    need(os.geteuid() == 0 and shutil.which("mount"), "root, to mount a small disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, check=False
    )
    need(mounted.returncode == 0, "the right to mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_loses_nothing_and_is_recovered_from(crew, small_disk, monkeypatch, notes):
    monkeypatch.setenv("LITEQ_DB", str(small_disk / "liteq.db"))
    hand = crew.hire("--concurrency", "1")
    running = chores.nap.delay(notes.path, 1.0, "x")
    notes.wait(1)
    ballast = small_disk / "ballast"
    fill(ballast)
    with pytest.raises(BrokerFull, match="nothing was stored"):
        enqueue([chores.length.job("x" * 10_000) for _ in range(300)])
    stored = store_until_full()

    wait_for(lambda: "trouble" in hand.log(), "the worker to notice")
    start = hand.cpu_seconds(), time.monotonic()
    time.sleep(1.5)
    assert (hand.cpu_seconds() - start[0]) / (time.monotonic() - start[1]) < 0.1
    assert hand.process.poll() is None

    ballast.unlink()

    assert running.result(timeout=10) == "x"
    assert notes.lines() == ["begin x", "end x"]
    assert [job.result(timeout=10) for job in stored] == [3000] * len(stored)
    assert "well again" in hand.log()
    assert hand.stop() == 0
    check(os.environ["LITEQ_DB"])


def store_until_full():
    """Jobs that could be stored before the disk was full."""
    stored = []
    for _ in range(1000):
        try:
            stored.append(chores.length.delay("x" * 3000))
        except BrokerFull:
            return stored
    raise AssertionError("the disk is not small")


def fill(path):
    with open(path, "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            return


def check(path):
    """The file is sound."""
    brokers.current().close()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
