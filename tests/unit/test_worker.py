"""Worker: what makes no sense is refused where it is written, not when it runs."""

import pytest

from liteq import Worker
from liteq.job import UNLIMITED, Job
from liteq.worker import _counted


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"queues": "default"}, r"\['default'\]"),
        ({"queues": []}, "at least one"),
        ({"queues": ["default", ""]}, "none empty"),
        ({"concurrency": 0}, "at least 1"),
        ({"concurrency": -2}, "at least 1"),
        ({"task_timeout": 0}, "more than 0"),
        ({"task_timeout": float("inf")}, "more than 0"),
        ({"task_timeout": float("nan")}, "more than 0"),
        ({"pool": "fibers"}, "processes, threads or inline"),
        ({"lease": 0.5}, "lease=0.5"),
        ({"start_method": "teleport"}, "fork or spawn"),
        ({"max_jobs": -1}, "max_jobs=-1"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_by_name(arguments, words):
    with pytest.raises(ValueError, match=words):
        Worker(**arguments)


def test_an_option_that_does_not_exist_is_refused_by_name():
    with pytest.raises(TypeError, match="max_job"):
        Worker(max_job=5)


def test_every_worker_has_a_name_of_its_own_that_fits_into_a_receipt():
    first, second = Worker(), Worker()

    assert first.worker_id != second.worker_id
    # A receipt adds the claim's number and the job's id, and has room for 56 bytes.
    assert len(f"{first.worker_id}.{10**9}.{2**63}".encode()) <= 56


def test_a_queue_named_twice_is_served_once():
    assert Worker(["a", "b", "a"]).queues == ("a", "b")


def test_a_worker_that_does_not_run_can_be_told_to_stop():
    Worker().stop()


def test_log_counts_runs_up_to_what_is_allowed():
    job = Job(1, "add", "{}", "default", 0, 2, 3, None, "r", 0, at_most_once=False)

    assert _counted(job) == "2/4"
    assert _counted(job._replace(max_retries=UNLIMITED)) == "2"
