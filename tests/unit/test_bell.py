"""Bell: a ring reaches a sleeping worker of the right queue, one of them, and nobody awake."""

import os
import select
import subprocess
import sys
import time

import pytest

from liteq.brokers.sqlite.bell import PLACES, Bell, Board, Ear


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "liteq.db")


@pytest.fixture
def ear(path):
    """`ear("a", "b")`: a worker of these queues."""
    ears = []

    def make(*queues):
        ears.append(Ear(Board(path), queues))
        return ears[-1]

    yield make
    for each in ears:
        each.close()


@pytest.fixture
def bell(path):
    bell = Bell(Board(path))
    yield bell
    if bell._socket is not None:
        bell._socket.close()


def rung(*ears):
    """Which of them hear something now."""
    ready = select.select([each.fileno() for each in ears], [], [], 0)[0]
    return [each.fileno() in ready for each in ears]


def test_a_sleeper_of_the_queue_is_woken(ear, bell):
    a = ear("default", "mail")
    a.arm()

    bell.ring(["mail"], everybody=False)

    assert rung(a) == [True]


def test_somebody_awake_is_left_alone(ear, bell):
    a = ear("default")

    bell.ring(["default"], everybody=False)
    assert rung(a) == [False]

    a.arm()
    a.disarm()
    bell.ring(["default"], everybody=False)
    assert rung(a) == [False]


def test_a_sleeper_of_another_queue_is_left_alone(ear, bell):
    a = ear("default")
    a.arm()

    bell.ring(["mail"], everybody=False)

    assert rung(a) == [False]


def test_one_job_wakes_one_worker_and_the_next_job_the_next(ear, bell):
    a, b = ear("default"), ear("default")
    a.arm()
    b.arm()

    bell.ring(["default"], everybody=False)
    assert sorted(rung(a, b)) == [False, True]

    bell.ring(["default"], everybody=False)
    assert rung(a, b) == [True, True]


def test_many_jobs_wake_everybody(ear, bell):
    a, b, c = ear("default"), ear("default"), ear("mail")
    for each in (a, b, c):
        each.arm()

    bell.ring(["default"], everybody=True)

    assert rung(a, b, c) == [True, True, False]


def test_a_worker_that_wakes_forgets_the_rings_it_has_heard(ear, bell):
    a = ear("default")
    a.arm()
    bell.ring(["default"], everybody=False)

    a.disarm()

    assert rung(a) == [False]


def test_a_ring_for_a_dead_sleeper_goes_to_the_next(path, ear, bell):
    script = (
        "import os, sys; from liteq.brokers.sqlite.bell import Board, Ear\n"
        "Ear(Board(sys.argv[1]), ['default']).arm(); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", script, path], check=True)
    board = Board(path).view()
    assert board[0] == 1, "the dead one's mark stays, so this shows something"
    b = ear("mail")  # takes the dead one's place
    c = ear("default")
    b.arm()
    c.arm()

    bell.ring(["default"], everybody=False)

    assert rung(b, c) == [False, True]


def test_nobody_there_is_no_error(bell):
    bell.ring(["default"], everybody=True)


def test_a_board_that_was_deleted_is_made_again(path, ear, bell):
    a = ear("default")
    a.arm()
    bell.ring(["default"], everybody=False)
    a.disarm()
    os.unlink(f"{path}-bell")

    bell.ring(["default"], everybody=False)
    a.arm()
    deadline = time.monotonic() + 5
    while rung(a) == [False] and time.monotonic() < deadline:  # it looks for the file now and then
        bell.ring(["default"], everybody=False)

    assert rung(a) == [True]


def test_more_workers_than_places_do_without(ear, bell):
    crowd = [ear("default") for _ in range(PLACES + 1)]
    for each in crowd:
        each.arm()

    bell.ring(["default"], everybody=True)

    assert rung(*crowd) == [True] * PLACES + [False]


def test_a_place_is_free_again_when_its_worker_has_left(path, ear, bell):
    first = Ear(Board(path), ["default"])
    first.arm()
    first.close()
    second = ear("default")
    assert second._place == 0
    second.arm()

    bell.ring(["default"], everybody=False)

    assert rung(second) == [True]


def test_where_the_folder_cannot_be_written_there_is_only_the_slow_poll(tmp_path, bell):
    ear = Ear(Board(str(tmp_path / "no" / "liteq.db")), ["default"])
    try:
        ear.arm()
        ear.disarm()
    finally:
        ear.close()
