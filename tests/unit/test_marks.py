"""Marks: what a dead process had begun can be told, however much it did before."""

import os
import signal
import subprocess
import sys
import time

import pytest

from liteq.pools import marks, pace
from liteq.pools.marks import ENTRIES, Marks

PLAIN, ASYNC = 0, 1


@pytest.fixture
def note(tmp_path):
    marks_ = Marks(str(tmp_path / "x.marks"))
    yield marks_
    marks_.remove()


def test_nothing_has_begun_at_first(note):
    assert note.receipts() == set()
    assert note.begun("w.1.1") is None


def test_a_begun_run_is_known_with_its_time(note):
    before = time.monotonic()

    note.begin(PLAIN, "w.1.1")

    assert note.receipts() == {"w.1.1"}
    assert before <= note.begun("w.1.1") <= time.monotonic()


def test_a_receipt_that_begins_like_another_is_another(note):
    note.begin(PLAIN, "w.1.11")

    assert note.begun("w.1.1") is None
    assert note.begun(".1.11") is None


def test_both_lanes_are_on_record(note):
    note.begin(PLAIN, "w.1.1")
    note.begin(ASYNC, "w.1.2")

    assert note.receipts() == {"w.1.1", "w.1.2"}


def test_all_that_can_be_in_hand_at_once_is_on_record(note):
    for number in range(5 * ENTRIES):
        note.begin(PLAIN, f"w.1.{number}")

    last = {f"w.1.{number}" for number in range(5 * ENTRIES - pace.MOST, 5 * ENTRIES)}
    assert last <= note.receipts()


def test_a_long_run_stays_on_record_beside_any_number_of_short_ones(note):
    turn = note.begin_beside(ASYNC, "w.1.long")
    for number in range(5 * ENTRIES):
        note.ended(ASYNC, note.begin_beside(ASYNC, f"w.1.{number}"))

    assert note.begun("w.1.long") is not None

    note.ended(ASYNC, turn)
    assert note.begun("w.1.long") is not None


def test_a_long_run_that_has_ended_stays_on_record_until_its_end_is_settled(note):
    turn = note.begin_beside(ASYNC, "w.1.long")
    for number in range(3 * ENTRIES + 7):
        note.ended(ASYNC, note.begin_beside(ASYNC, f"w.1.{number}"))
    began = note.begun("w.1.long")

    note.ended(ASYNC, turn)
    for number in range(pace.MOST):
        note.ended(ASYNC, note.begin_beside(ASYNC, f"w.2.{number}"))

    assert note.begun("w.1.long") == began


def test_the_marks_of_a_killed_process_can_be_read(note):
    script = (
        "import os, signal, sys; from liteq.pools.marks import Marks\n"
        "Marks(sys.argv[1]).begin(0, 'w.1.1'); os.kill(os.getpid(), signal.SIGKILL)"
    )

    process = subprocess.run([sys.executable, "-c", script, note.path], check=False)

    assert process.returncode == -signal.SIGKILL

    assert note.receipts() == {"w.1.1"}


def test_an_order_to_stop_names_one_run(note):
    assert note.stop_ordered() == ""

    note.order_stop("w.1.123456")
    note.order_stop("w.1.12")

    assert note.stop_ordered() == "w.1.12"


def test_a_process_can_say_that_it_takes_no_more_jobs(note):
    assert not note.retiring()

    note.retire()
    note.order_stop("w" * 56)

    assert note.retiring()
    assert note.stop_ordered() == "w" * 56
    assert note.receipts() == set()


def test_the_longest_receipt_fits(note):
    note.begin(PLAIN, "w" * 56)
    note.order_stop("w" * 56)

    assert note.receipts() == {"w" * 56}
    assert note.begun("w" * 56) is not None
    assert note.stop_ordered() == "w" * 56


def test_a_dead_workers_marks_are_found_by_its_name():
    seats = [Marks(marks.path("test-1-abcd", seat)) for seat in ("1", "2")]
    seats[0].begin(PLAIN, "test-1-abcd.1.1")
    seats[1].begin(ASYNC, "test-1-abcd.1.2")
    try:
        assert marks.of_worker("test-1-abcd") == {"test-1-abcd.1.1", "test-1-abcd.1.2"}
        assert marks.of_worker("test-1-abc") is None
    finally:
        marks.remove_of("test-1-abcd")

    assert marks.of_worker("test-1-abcd") is None


@pytest.mark.parametrize("name", ["../../etc/passwd", "*", "", "a/b", "x\n"])
def test_a_name_from_the_database_leads_to_no_other_file(name):
    assert marks.of_worker(name) is None
    marks.remove_of(name)


def test_a_large_job_on_its_way_is_no_mark_and_is_cleared_up_too():
    note, spill = Marks(marks.path("test-2-ef", "1")), marks.spill_path("test-2-ef", 1)
    try:
        note.begin(PLAIN, "test-2-ef.1.1")
        with open(spill, "wb") as file:
            file.write(b"x" * 100_001)

        assert marks.of_worker("test-2-ef") == {"test-2-ef.1.1"}
    finally:
        marks.remove_of("test-2-ef")

    assert not os.path.exists(spill)
