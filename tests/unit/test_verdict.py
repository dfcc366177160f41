"""The crash test's judge: it must see each kind of broken promise, or its silence means nothing."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.verdict import Kill, Row, judge

WORKER, CHILD, OTHER_WORKER, OTHER_CHILD = 10, 11, 20, 21


def job(id=1, status="done", attempts=1, result="7", error=None, max_retries=3):
    return Row(id, '{"args": [7, 0.1]}', status, attempts, max_retries, result, error)


def begin(id=1, at=1.0, pid=CHILD, worker=WORKER):
    return f"begin {id} {at} {pid} {worker}"


def end(id=1, at=1.1, pid=CHILD, worker=WORKER):
    return f"end {id} {at} {pid} {worker}"


def killed(at, pid=WORKER, kind="worker"):
    return Kill(at, at + 0.01, pid, kind)


AGAIN = [begin(at=3.0, pid=OTHER_CHILD, worker=OTHER_WORKER), end(at=3.1, pid=OTHER_CHILD)]


def test_a_job_that_ran_once_and_is_done_is_fine():
    found = judge([job()], [begin(), end()], [1], [])

    assert found.faults == []
    assert found.statuses == {"done": 1}


@pytest.mark.parametrize("pid", [WORKER, CHILD])
def test_a_run_that_was_cut_off_by_a_kill_may_be_repeated(pid):
    found = judge([job(attempts=2)], [begin(), *AGAIN], [1], [killed(1.5, pid)])

    assert found.faults == []
    assert found.cut_off == 1


def test_a_run_that_ended_just_before_its_worker_was_killed_may_be_repeated():
    found = judge([job(attempts=2)], [begin(), end(), *AGAIN], [1], [killed(1.15)])

    assert found.faults == []
    assert found.unrecorded == 1


def test_recovery_is_timed_from_the_kill_to_the_next_run():
    after_worker = judge([job(attempts=2)], [begin(), *AGAIN], [1], [killed(1.5)])
    after_child = judge([job(attempts=2)], [begin(), *AGAIN], [1], [killed(2.0, CHILD, "child")])

    assert after_worker.recoveries == [1.5]
    assert after_child.child_recoveries == [1.0]


def test_only_a_first_loss_is_timed_as_a_recovery():
    third = [begin(at=9.0, pid=31, worker=30), end(at=9.1, pid=31)]
    kills = [killed(1.5), killed(3.05, OTHER_WORKER)]

    found = judge([job(attempts=3)], [begin(), AGAIN[0], *third], [1], kills)

    assert found.faults == []
    assert found.recoveries == [1.5]


@pytest.mark.parametrize(
    ("rows", "journal", "promised", "kills", "says"),
    [
        ([], [], [1], [], "was promised and is not there"),
        ([], [begin(), end()], [], [], "has run and is not there"),
        ([job(status="running")], [begin()], [1], [], "is running at the end"),
        ([job(status="pending", attempts=0)], [], [1], [], "is pending at the end"),
        ([job()], [], [1], [], "never ran"),
        ([job()], [begin()], [1], [], "its last run never ended"),
        ([job(result="8")], [begin(), end()], [1], [], "not its own"),
        ([job(result=None)], [begin(), end()], [1], [], "not its own"),
        ([job(status="failed", attempts=4)], [begin()], [1], [killed(2)], "without a reason"),
        (
            [job(status="failed", attempts=2, error="lost")],
            [begin()],
            [1],
            [killed(2)],
            "failed after 2 attempts",
        ),
        (
            [job(status="failed", attempts=4, error="lost")],
            [begin()],
            [1],
            [],
            "nobody had killed one of its runs",
        ),
        ([job(attempts=2)], [begin(), *AGAIN], [1], [], "nobody had killed its process"),
        ([job(attempts=2)], [begin(), *AGAIN], [1], [killed(5)], "nobody had killed its process"),
        ([job(attempts=2)], [begin(), *AGAIN], [1], [killed(0.5)], "nobody had killed"),
        ([job(attempts=2)], [begin(), end(), *AGAIN], [1], [killed(2.9)], "it had ended 1.8 s"),
        (
            [job(attempts=2)],
            [begin(), *AGAIN, end(at=3.05)],
            [1],
            [killed(2)],
            "while it was still running",
        ),
        ([job(attempts=1)], [begin(), *AGAIN], [1], [killed(2)], "counted are 1"),
    ],
)
def test_a_broken_promise_is_seen(rows, journal, promised, kills, says):
    faults = judge(rows, journal, promised, kills).faults

    assert any(says in fault for fault in faults), faults
