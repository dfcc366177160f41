"""Doctor: why is my task not running? Each check looks at one thing and changes nothing.

What is particular to a SQLite file is looked at by the broker's own checkup.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from shlex import quote
from typing import NamedTuple

from liteq import brokers, config, monitoring, registry
from liteq.brokers.base import Store
from liteq.errors import BrokerError
from liteq.findings import Finding, fault, ok, warn
from liteq.job import Filter, JobRecord, WorkerInfo
from liteq.monitoring import WorkerState
from liteq.records import instant
from liteq.terminal import ago, counted, duration

_SAMPLE = 1000  # pending jobs that are looked at one by one
_FAILED = 100  # failed jobs that are looked at
_SKEW = 5.0  # seconds that a stored time may lie ahead before the clocks are to blame
_DAY = 86400.0
_JOB = "Job "  # a title that starts so is about one job
_LONG = 5.0  # seconds that a due job with a free worker may wait before that is strange


class Facts(NamedTuple):
    """What the checks look at, asked for once."""

    store: Store
    now: float
    workers: list[tuple[WorkerInfo, WorkerState]]
    counts: list[tuple[str, str, int]]
    paused: dict[str, str]
    waiting: list[JobRecord]  # the newest pending jobs
    due: dict[str, float]  # per queue with due jobs: how long the oldest has waited

    def active(self) -> list[WorkerInfo]:
        """The workers that live."""
        return [worker for worker, state in self.workers if state == "active"]

    def pending(self) -> int:
        """How many jobs wait, due or not."""
        return sum(count for _, status, count in self.counts if status == "pending")


def examine(id: int | None = None) -> list[Finding]:
    """The findings on everything that a job needs in order to run, most basic first.

    With the id of a job, the last one says in a sentence why that job is where it is.
    """
    findings = list(_place())
    if any(finding.level == "fault" for finding in findings):
        return findings  # nor could a job be asked for
    if "records" not in brokers.current().supports:
        return findings + _of_laravel(id)
    try:
        facts = _facts(brokers.current())
        findings += [finding for check in _CHECKS for finding in check(facts)]
        if id is not None:
            findings.append(_explained(id, facts))
    except BrokerError as error:
        findings.append(fault("Database", str(error)))
    return findings


def _of_laravel(id: int | None) -> list[Finding]:
    """What can be found out where no single job is on record."""
    from liteq.brokers.laravel import checkup

    findings = list(checkup.check(brokers.current()))
    if id is not None:
        said = "Laravel keeps no record of a job beside its queue, so none can be asked for"
        findings.append(fault(f"{_JOB}{id}", said, "php artisan queue:failed; or see Horizon"))
    return findings


def summary(findings: Sequence[Finding]) -> str:
    """The upshot in one line: what is said of the job that was asked about, or all titles."""
    last = findings[-1]
    if last.title.startswith(_JOB):
        return f"{last.title}: {last.detail}"
    faults = _titles(findings, "fault")
    warnings = _titles(findings, "warn")
    if faults:
        return f"{counted(len(faults), 'fault')}: {', '.join(faults)}"
    if warnings:
        return f"no fault, {counted(len(warnings), 'warning')}: {', '.join(warnings)}"
    return "all is well"


# ── the whole queue ──


def _place() -> Iterator[Finding]:
    """Where the jobs are, and whether that place is fit for use."""
    url = config.broker_url()
    try:
        store = brokers.connect(url)
    except (ValueError, BrokerError, ImportError) as error:
        yield fault("Database", str(error))
        return
    path = getattr(store, "path", None)
    yield ok("Database", f"{path or store.url} ({_source()})")
    if path is None:
        return
    from liteq.brokers.sqlite import checkup

    yield from checkup.check(path)
    others = checkup.others(path)
    if others:
        yield warn(
            "Other databases",
            f"there is also {', '.join(others)}; perhaps one side uses that one",
            "set LITEQ_DB to one absolute path, for your program and for the worker",
        )


def _source() -> str:
    """Who says so."""
    for name in ("LITEQ_URL", "LITEQ_DB"):
        if os.environ.get(name):
            return f"named by {name}"
    return "the default, as neither LITEQ_DB nor LITEQ_URL is set"


def _facts(store: Store) -> Facts:
    now = store.clock.wall()
    workers = [(worker, monitoring.state_of(worker, now)) for worker in store.workers()]
    waiting = store.find(Filter(status="pending"), _SAMPLE)
    due = store.oldest_due()
    for record in waiting:
        wait = now - _due(record, now)
        if wait >= 0:
            due[record.queue] = max(due.get(record.queue, 0.0), wait)
    return Facts(store, now, workers, store.count(), store.paused(), waiting, due)


def _check_clock(facts: Facts) -> Iterator[Finding]:
    newest = facts.store.find(Filter(), 1)
    said = [instant(record.created_at, 0.0) for record in newest]
    said += [worker.heartbeat for worker, _ in facts.workers]
    ahead = max(said, default=0.0) - facts.now
    if ahead > _SKEW:
        yield warn(
            "Clock",
            f"the database holds times {duration(ahead)} in the future of this machine's clock",
            "set the clock (NTP); delayed jobs run by it",
        )
    else:
        yield ok("Clock", "agrees with the times on record")


def _check_workers(facts: Facts) -> Iterator[Finding]:
    active = facts.active()
    if active:
        slots = sum(worker.concurrency for worker in active)
        yield ok("Workers", f"{counted(len(active), 'worker')} with {counted(slots, 'slot')}")
    elif facts.pending():
        yield fault(
            "Workers",
            f"no worker is running, and {_waiting(facts.pending())}",
            "start one: liteq worker --app tasks.py",
        )
    else:
        yield warn("Workers", "no worker is running", "start one: liteq worker --app tasks.py")


def _check_queues(facts: Facts) -> Iterator[Finding]:
    """Every queue with due jobs needs a worker, and must not be paused."""
    listening = {queue for worker in facts.active() for queue in worker.queues}
    for queue, wait in sorted(facts.due.items()):
        waited = f"jobs have waited up to {duration(wait)}"
        if queue in facts.paused:
            since = ago(instant(facts.paused[queue], facts.now), facts.now)
            yield fault(
                f"Queue {queue}",
                f"it was paused {since}; {waited}",
                f"liteq resume {quote(queue)}",
            )
        elif queue in listening:
            yield ok(f"Queue {queue}", f"a worker listens; {waited}")
        elif listening:  # without any worker, the one fault is enough
            yield fault(
                f"Queue {queue}",
                f"no running worker listens on it{_listening_text(listening)}; {waited}",
                f"liteq worker --app tasks.py --queues {quote(queue)}",
            )
    for queue in sorted(set(facts.paused) - set(facts.due)):
        yield warn(f"Queue {queue}", "it is paused", f"liteq resume {quote(queue)}")


def _check_slots(facts: Facts) -> Iterator[Finding]:
    """Jobs may just wait for others to end."""
    active, longest = facts.active(), max(facts.due.values(), default=0.0)
    if active and longest > _LONG and all(_is_busy(facts.store, worker) for worker in active):
        yield warn(
            "Slots",
            f"every slot is busy, and jobs have waited up to {duration(longest)} for others to end",
            "more slots: liteq worker --concurrency N; or a time limit: --timeout SECONDS",
        )


def _check_names(facts: Facts) -> Iterator[Finding]:
    """Only where an app is loaded can it be said which names it knows."""
    if not registry.definitions():
        return
    names = Counter(record.name for record in facts.waiting)
    unknown = {name: count for name, count in names.items() if registry.get(name) is None}
    for name, count in sorted(unknown.items()):
        yield fault(
            f"Task {name}",
            f"{_waiting(count)} for it, but the app does not define it",
            "load the module that does, with --app; a renamed task can keep its old name: "
            f"@task(name={name!r})",
        )
    if not unknown:
        yield ok("Task names", "the app defines every task that jobs wait for")


def _check_future(facts: Facts) -> Iterator[Finding]:
    later = [due for record in facts.waiting if (due := _due(record, facts.now)) > facts.now]
    if later:
        more = " or more" if len(facts.waiting) == _SAMPLE else ""
        yield ok(
            "Delayed jobs",
            f"{counted(len(later), 'job')}{more} for later, the next {ago(min(later), facts.now)}",
        )


def _check_failures(facts: Facts) -> Iterator[Finding]:
    failed = [
        record
        for record in facts.store.find(Filter(status="failed"), _FAILED)
        if instant(record.finished_at, facts.now) > facts.now - _DAY
    ]
    again = [record for record in facts.waiting if record.attempts > 0 and record.error]
    if failed:
        yield _failing("Failed jobs", "failed in the last day", failed)
    if again:
        yield _failing("Failing jobs", "failed and will run again", again)


def _failing(title: str, doing: str, records: list[JobRecord]) -> Finding:
    """A warning that names the commonest error, and a job to look at."""
    errors = Counter((record.name, record.error) for record in records)
    [((name, error), count)] = errors.most_common(1)
    example = next(record for record in records if (record.name, record.error) == (name, error))
    many = (
        f"{len(records)} or more jobs" if len(records) == _FAILED else counted(len(records), "job")
    )
    return warn(title, f"{many} {doing}; {count} × {name}: {error}", f"liteq show {example.id}")


def _check_stuck(facts: Facts) -> Iterator[Finding]:
    """Jobs of a dead worker are taken over by another one, so there must be another one."""
    for worker, state in facts.workers:
        held = len(facts.store.held(worker.worker_id)) if state != "active" else 0
        if not held:
            continue
        what = f"worker {worker.worker_id or '(unknown)'} is {state} and still holds "
        what += counted(held, "job")
        if facts.active():
            yield warn(
                "Dead worker", f"{what}; a running worker takes over when its lease ends (30 s)"
            )
        else:
            yield fault(
                "Dead worker",
                f"{what}; no worker is running to take over",
                "start one: liteq worker --app tasks.py",
            )


_CHECKS: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    _check_clock,
    _check_workers,
    _check_queues,
    _check_slots,
    _check_names,
    _check_future,
    _check_stuck,
    _check_failures,
)


# ── one job ──


def _explained(id: int, facts: Facts) -> Finding:
    """Why this very job is where it is."""
    title, record = f"{_JOB}{id}", facts.store.get(id)
    if record is None:
        return fault(title, "there is no such job: it was purged, or is in another database")
    explanations = {"pending": _pending, "running": _running, "failed": _failed}
    explanation = explanations.get(record.status)
    if explanation is not None:
        return explanation(title, record, facts)
    when = ago(instant(record.finished_at, facts.now), facts.now)
    if record.status == "done":
        return ok(title, f"it is done; it ended {when}")
    return ok(title, f"it was {record.status} {when}: {record.error or 'no reason is on record'}")


def _failed(title: str, record: JobRecord, facts: Facts) -> Finding:
    when = ago(instant(record.finished_at, facts.now), facts.now)
    return fault(
        title,
        f"it failed {when}, after {counted(record.attempts, 'run')}: {record.error}",
        f"liteq show {record.id} has the traceback; once mended: liteq retry {record.id}",
    )


def _running(title: str, record: JobRecord, facts: Facts) -> Finding:
    since = duration(max(0.0, facts.now - instant(record.started_at, facts.now)))
    state = {worker.worker_id: state for worker, state in facts.workers}.get(
        record.worker_id or "", "dead"
    )
    if state == "active":
        return ok(title, f"it has been running for {since} on worker {record.worker_id}")
    return fault(
        title,
        f"it was running on worker {record.worker_id}, which is {state}; "
        "another worker takes it over when the lease ends (30 s)",
        None if facts.active() else "start one: liteq worker --app tasks.py",
    )


def _pending(title: str, record: JobRecord, facts: Facts) -> Finding:
    due = _due(record, facts.now)
    if due > facts.now:
        return ok(title, _why_later(record, ago(due, facts.now)))
    if record.queue in facts.paused:
        since = ago(instant(facts.paused[record.queue], facts.now), facts.now)
        return fault(
            title,
            f"its queue {record.queue!r} was paused {since}",
            f"liteq resume {quote(record.queue)}",
        )
    if registry.definitions() and registry.get(record.name) is None:
        return fault(
            title,
            f"the app defines no task {record.name!r}",
            "load the module that does, with --app",
        )
    return _pending_for_a_worker(title, record, facts, facts.now - due)


def _pending_for_a_worker(title: str, record: JobRecord, facts: Facts, wait: float) -> Finding:
    active = facts.active()
    start = f"liteq worker --app tasks.py --queues {quote(record.queue)}"
    if not active:
        return fault(title, "it is due, but no worker is running", start)
    listening = [worker for worker in active if record.queue in worker.queues]
    if not listening:
        queues = {queue for worker in active for queue in worker.queues}
        return fault(
            title,
            f"no running worker listens on its queue {record.queue!r}{_listening_text(queues)}",
            start,
        )
    if all(_is_busy(facts.store, worker) for worker in listening):
        return ok(title, "it waits in line: every slot of the workers on its queue is busy")
    if wait > _LONG:
        return warn(
            title,
            f"it has been due for {duration(wait)} and a worker is free",
            "look at the worker's log",
        )
    return ok(title, "it is due, and a worker is about to take it")


def _why_later(record: JobRecord, when: str) -> str:
    if record.attempts:
        return f"run {record.attempts} failed ({record.error}); it runs again {when}"
    return f"it is to run {when}"


# ── small things ──


def _due(record: JobRecord, now: float) -> float:
    """When the job may start; without a time of its own, from when it was queued."""
    return instant(record.run_at, instant(record.created_at, now))


def _is_busy(store: Store, worker: WorkerInfo) -> bool:
    return len(store.held(worker.worker_id)) >= worker.concurrency > 0


def _titles(findings: Sequence[Finding], level: str) -> list[str]:
    return list(dict.fromkeys(f.title for f in findings if f.level == level))


def _waiting(count: int) -> str:
    return "1 job waits" if count == 1 else f"{count} jobs wait"


def _listening_text(queues: Iterable[str]) -> str:
    names = ", ".join(sorted(queues))
    return f" (they listen on {names})" if names else ""
