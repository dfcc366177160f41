"""Two deaths in a row: of a pool process, and of its worker before that is on record."""

import os
import sqlite3

import chores
import pytest
from crew import alive, attempts, ended, wait_for


@pytest.fixture
def locked(crew):
    """`with locked():` nothing can be stored, so what happens meanwhile is not on record."""
    connection = sqlite3.connect(os.environ["LITEQ_DB"], isolation_level=None)

    class Locked:
        def __enter__(self):
            connection.execute("BEGIN IMMEDIATE")

        def __exit__(self, *_):
            connection.execute("ROLLBACK")

    yield Locked
    connection.close()


def _kill_process_then_worker(doomed, locked):
    [child] = doomed.children()
    with locked():
        os.kill(child, 9)
        wait_for(lambda: "was killed by SIGKILL" in doomed.log(), "the process is missed")
        doomed.kill()
    assert not alive(doomed.pid)


def test_a_run_counts_even_if_the_worker_dies_right_after_its_process(crew, notes, locked):
    doomed = crew.hire("--concurrency", "1")
    job = chores.nap.delay(notes.path, 0.5, "x")
    notes.wait(1)

    _kill_process_then_worker(doomed, locked)
    crew.hire("--concurrency", "1")

    assert ended(job)["status"] == "done"
    assert ended(job)["attempts"] == 2
    assert [lost.ending for lost in attempts(job)] == ["lost"]


def test_at_most_once_holds_even_if_the_worker_dies_right_after_its_process(crew, notes, locked):
    doomed = crew.hire("--concurrency", "1")
    job = chores.nap_once.delay(notes.path, 0.5)
    notes.wait(1)

    _kill_process_then_worker(doomed, locked)
    crew.hire("--concurrency", "1")

    assert ended(job)["status"] == "failed"
    assert notes.lines() == [f"begin {int(job)}"]
