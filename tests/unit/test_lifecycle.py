"""The rules: what a job becomes after each way that a run can end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liteq import lifecycle
from liteq.job import Attempt, Change, Job, Outcome, Terms

NOW = 1_000.0
WAIT = 60.0
ENDINGS = ("done", "failed", "retry", "cancelled", "timeout", "lost", "released")


def a_job(attempt: int = 1, max_retries: int = 3, losses: int = 0, **facts) -> Job:
    known = Job(
        id=7,
        name="add",
        payload="{}",
        queue="default",
        priority=0,
        attempt=attempt,
        max_retries=max_retries,
        timeout=None,
        receipt="r1",
        losses=losses,
        at_most_once=False,
    )
    return known._replace(**facts)


def ended(ending: str, **facts) -> Outcome:
    return Outcome(
        "r1", ending, started=990.0, ended=995.0, error="ValueError: no", traceback="Traceback ..."
    )._replace(**facts)


def after(job: Job, outcome: Outcome) -> Change:
    return lifecycle.settled(job, outcome, WAIT, NOW)


def test_done_job_keeps_its_result():
    outcome = Outcome("r1", "done", started=990.0, ended=995.0, result="5")

    change = after(a_job(attempt=2, losses=1), outcome)

    assert change == Change(
        id=7,
        receipt="r1",
        status="done",
        attempts=2,
        losses=1,
        result="5",
        started=990.0,
        ended=995.0,
    )


def test_last_attempt_may_still_succeed():
    assert after(a_job(attempt=4, max_retries=3), ended("done")).status == "done"


@pytest.mark.parametrize("ending", ["failed", "retry", "timeout"])
def test_failed_job_goes_round_again_after_the_wait(ending):
    change = after(a_job(attempt=1, losses=1), ended(ending))

    assert change == Change(
        id=7,
        receipt="r1",
        status="pending",
        attempts=1,
        losses=1,
        due=NOW + WAIT,
        error="ValueError: no",
        started=990.0,
        record=Attempt(1, ending, 990.0, 995.0, "ValueError: no", "Traceback ..."),
    )


@pytest.mark.parametrize("ending", ["failed", "retry", "timeout"])
def test_last_failure_buries_the_job(ending):
    change = after(a_job(attempt=4, max_retries=3), ended(ending))

    assert change == Change(
        id=7,
        receipt="r1",
        status="failed",
        attempts=4,
        losses=0,
        error="ValueError: no",
        started=990.0,
        ended=995.0,
        record=Attempt(4, ending, 990.0, 995.0, "ValueError: no", "Traceback ..."),
    )


@pytest.mark.parametrize("max_retries", [0, 1, 5])
@pytest.mark.parametrize("ending", ["failed", "retry", "timeout", "lost"])
def test_job_that_always_ends_badly_runs_once_and_its_retries(ending, max_retries):
    job, runs = a_job(attempt=1, max_retries=max_retries), 1

    while (change := after(job, ended(ending))).status == "pending":
        job, runs = job._replace(attempt=change.attempts + 1, losses=change.losses), runs + 1

    assert change.status == "failed"
    assert runs == max_retries + 1


def test_task_may_say_itself_when_to_run_again():
    assert after(a_job(), ended("retry", after=5.0)).due == NOW + 5
    assert after(a_job(), ended("retry", after=0.0)).due == NOW


def test_error_not_worth_a_retry_buries_the_job_at_once():
    change = after(a_job(attempt=1), ended("failed", final=True))

    assert change.status == "failed"
    assert change.attempts == 1


def test_first_loss_goes_round_at_once():
    change = after(a_job(attempt=1), ended("lost"))

    assert (change.status, change.due, change.attempts, change.losses) == ("pending", None, 1, 1)
    assert change.record == Attempt(1, "lost", 990.0, 995.0, "ValueError: no", "Traceback ...")


def test_further_loss_waits():
    change = after(a_job(attempt=2, losses=1), ended("lost"))

    assert (change.status, change.due, change.losses) == ("pending", NOW + WAIT, 2)


def test_loss_on_the_last_attempt_buries_the_job():
    change = after(a_job(attempt=4, max_retries=3), ended("lost"))

    assert (change.status, change.losses, change.ended) == ("failed", 1, 995.0)


def test_job_of_at_most_once_is_not_run_again_after_a_loss():
    change = after(a_job(attempt=1, at_most_once=True), ended("lost"))

    assert (change.status, change.losses) == ("failed", 1)


def test_job_of_at_most_once_is_retried_after_an_honest_failure():
    assert after(a_job(attempt=1, at_most_once=True), ended("failed")).status == "pending"


def test_run_that_is_cut_off_gets_its_attempt_back():
    change = after(a_job(attempt=2), Outcome("r1", "released", NOW - 1, NOW))

    assert (change.status, change.attempts, change.record) == ("pending", 1, None)


def test_run_at_most_once_that_is_cut_off_is_not_repeated():
    cut_off = Outcome("r1", "released", NOW - 1, NOW, error="its worker stopped")

    change = after(a_job(at_most_once=True), cut_off)

    assert (change.status, change.attempts, change.error) == ("failed", 1, "its worker stopped")


def test_run_at_most_once_that_never_began_may_be_begun():
    assert after(a_job(at_most_once=True), Outcome("r1", "released")).status == "pending"


def test_released_job_gets_its_attempt_back():
    change = after(a_job(attempt=2, losses=1), Outcome("r1", "released"))

    assert change == Change(id=7, receipt="r1", status="pending", attempts=1, losses=1)


def test_release_does_not_bury_a_job_on_its_last_attempt():
    assert after(a_job(attempt=4, max_retries=3), Outcome("r1", "released")).status == "pending"


def test_cancelled_job_is_not_retried():
    change = after(a_job(attempt=1), ended("cancelled"))

    assert (change.status, change.ended, change.due) == ("cancelled", 995.0, None)
    assert change.record == Attempt(1, "cancelled", 990.0, 995.0, "ValueError: no", "Traceback ...")


@given(
    job=st.builds(
        a_job,
        attempt=st.integers(1, 20),
        max_retries=st.integers(0, 10),
        losses=st.integers(0, 5),
        at_most_once=st.booleans(),
    ),
    ending=st.sampled_from(ENDINGS),
    final=st.booleans(),
    own_wait=st.none() | st.floats(0, 1e6),
)
def test_every_change_can_be_stored(job, ending, final, own_wait):
    change = after(job, ended(ending, final=final, after=own_wait))

    assert (change.id, change.receipt) == (job.id, job.receipt)
    assert 0 <= change.attempts <= job.attempt
    assert job.losses <= change.losses <= job.losses + 1
    assert change.due is None or (change.status == "pending" and change.due >= NOW)
    assert (change.ended is None) == (change.status == "pending")
    unharmed = ending == "done" or (ending == "released" and change.status == "pending")
    assert (change.record is None) == unharmed


def test_job_whose_attempts_are_used_up_does_not_begin():
    change = lifecycle.unfit(a_job(attempt=5, max_retries=3), NOW)

    assert change is not None
    assert change.status == "failed"
    assert "add has begun 4 times, of 4 that it may" in change.error


@pytest.mark.parametrize("terms", [None, Terms()])
def test_job_with_an_attempt_left_may_begin(terms):
    assert lifecycle.unfit(a_job(attempt=4, max_retries=3, terms=terms), NOW) is None


def test_job_with_a_last_moment_begins_until_then_whatever_its_attempts():
    job = a_job(attempt=99, max_retries=0, terms=Terms(retry_until=NOW))

    assert lifecycle.unfit(job, NOW) is None
    assert lifecycle.unfit(job, NOW + 1).status == "failed"


def test_job_that_cannot_be_run_says_why():
    change = lifecycle.unfit(a_job(terms=Terms(fault="UnreadablePayload: no")), NOW)

    assert (change.status, change.error) == ("failed", "UnreadablePayload: no")


def test_last_moment_decides_over_attempts():
    job = a_job(attempt=99, max_retries=0, terms=Terms(retry_until=NOW + 1))

    assert after(job, ended("failed")).status == "pending"
    assert lifecycle.settled(job, ended("failed"), WAIT, NOW + 1).status == "failed"


def test_failed_runs_are_counted_to_their_own_limit():
    job = a_job(attempt=2, max_retries=9, terms=Terms(max_exceptions=2, exceptions=1))

    assert after(job, ended("failed")).status == "failed"
    assert after(job, ended("timeout")).status == "failed"
    assert after(job, ended("retry")).status == "pending"
    assert after(job._replace(terms=Terms(max_exceptions=2)), ended("failed")).status == "pending"


def test_job_that_may_not_time_out_ends_by_it():
    job = a_job(terms=Terms(fail_on_timeout=True))

    assert after(job, ended("timeout")).status == "failed"
    assert after(job, ended("failed")).status == "pending"


def test_terms_leave_the_attempts_to_be_counted():
    assert after(a_job(attempt=4, terms=Terms()), ended("failed")).status == "failed"
    assert after(a_job(attempt=4, terms=Terms()), ended("lost")).status == "failed"
