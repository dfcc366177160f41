"""Lifecycle: every decision about a job's next state. Pure functions, no clock, no I/O.

`f(job, facts, now) -> Change`. A broker applies a Change only while its receipt still holds.

    begin      the broker's claim: pending → running, attempts + 1
    unfit      claimed, but never to be run: its attempts are used up, or it cannot be read
    settled    the way in for a worker: picks the rule by how the run ended
    succeeded  running → done
    failed     running → pending (attempts left) or failed (last attempt, or not worth a retry)
    lost       the process or the worker died under it: pending at once or after a wait, or failed
    released   never began: pending again, and the attempt is given back
    cut_off    had begun, but its worker stops: as released, or failed if it may run only once
    cancelled  running → cancelled
"""

from liteq.job import Attempt, Change, Job, Outcome, Terms


def settled(job: Job, outcome: Outcome, wait: float, now: float) -> Change:
    """What the job becomes after this outcome; `wait` is the retry policy's answer, in seconds."""
    if outcome.ending == "done":
        return succeeded(job, outcome)
    if outcome.ending == "released":
        return cut_off(job, outcome) if outcome.started else released(job)
    if outcome.ending == "cancelled":
        return cancelled(job, outcome)
    if outcome.ending == "lost":
        return lost(job, outcome, wait, now)
    return failed(job, outcome, wait, now)


def unfit(job: Job, now: float) -> Change | None:
    """Failed before its run begins, where it must not run; None where it may."""
    if job.terms is None and job.attempt <= job.max_retries + 1:
        return None
    why = _why_unfit(job, job.terms or Terms(), now)
    if why is None:
        return None
    return _end(job, "failed", Outcome(job.receipt, "failed", now, now, error=why))


def succeeded(job: Job, outcome: Outcome) -> Change:
    """Done, with its result."""
    return Change(
        job.id,
        job.receipt,
        "done",
        job.attempt,
        job.losses,
        None,
        outcome.result,
        None,
        outcome.started,
        outcome.ended,
    )


def failed(job: Job, outcome: Outcome, wait: float, now: float) -> Change:
    """Round again after `wait`, or what the task itself asked for; buried after the last run."""
    if outcome.final or _exhausted(job, outcome, now):
        return _end(job, "failed", outcome)
    after = wait if outcome.after is None else outcome.after
    return _again(job, outcome, now + after)


def lost(job: Job, outcome: Outcome, wait: float, now: float) -> Change:
    """The first loss goes round at once, so bystanders recover fast; a further one waits."""
    job = job._replace(losses=job.losses + 1)
    if job.at_most_once or _exhausted(job, outcome, now):
        return _end(job, "failed", outcome)
    return _again(job, outcome, None if job.losses == 1 else now + wait)


def released(job: Job) -> Change:
    """Back at its old place as if it had not been claimed: the attempt is given back."""
    return Change(job.id, job.receipt, "pending", job.attempt - 1, job.losses)


def cut_off(job: Job, outcome: Outcome) -> Change:
    """Stopped through no fault of its own: as if it had not been claimed, if it may run again."""
    return _end(job, "failed", outcome) if job.at_most_once else released(job)


def cancelled(job: Job, outcome: Outcome) -> Change:
    """Ended on request, without retry."""
    return _end(job, "cancelled", outcome)


def _why_unfit(job: Job, terms: Terms, now: float) -> str | None:
    if terms.fault is not None:
        return terms.fault
    if terms.retry_until is not None:
        over = now > terms.retry_until
        return f"MaxAttemptsExceeded: {job.name} came after its last moment" if over else None
    if job.attempt <= job.max_retries + 1:
        return None
    return (
        f"MaxAttemptsExceeded: {job.name} has begun {job.attempt - 1} times, of "
        f"{job.max_retries + 1} that it may; the last run ended without a word: "
        "its worker died, or it ran longer than its lease"
    )


def _exhausted(job: Job, outcome: Outcome, now: float) -> bool:
    """Whether no run may follow this one, which did not end well."""
    terms = job.terms
    if terms is None:
        return job.attempt > job.max_retries
    if outcome.ending == "timeout" and terms.fail_on_timeout:
        return True
    if terms.max_exceptions is not None and outcome.ending in ("failed", "timeout"):
        if terms.exceptions + 1 >= terms.max_exceptions:
            return True
    if terms.retry_until is not None:
        return now >= terms.retry_until
    return job.attempt > job.max_retries


def _end(job: Job, status: str, outcome: Outcome) -> Change:
    return Change(
        id=job.id,
        receipt=job.receipt,
        status="failed" if status == "failed" else "cancelled",
        attempts=job.attempt,
        losses=job.losses,
        error=outcome.error,
        started=outcome.started,
        ended=outcome.ended,
        record=_record(job, outcome),
    )


def _again(job: Job, outcome: Outcome, due: float | None) -> Change:
    return Change(
        id=job.id,
        receipt=job.receipt,
        status="pending",
        attempts=job.attempt,
        losses=job.losses,
        due=due,
        error=outcome.error,
        started=outcome.started,
        record=_record(job, outcome),
    )


def _record(job: Job, outcome: Outcome) -> Attempt:
    return Attempt(
        job.attempt,
        outcome.ending,
        outcome.started,
        outcome.ended,
        outcome.error,
        outcome.traceback,
    )
