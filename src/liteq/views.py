"""Views: how jobs, queues, workers and findings look on a screen. Asks nothing, decides nothing.

What is shown to a person is short and relative ("3 min ago"); what goes into a pipe is exact.
"""

import json
from collections.abc import Sequence
from typing import Any

from liteq.findings import Finding
from liteq.job import STATUSES
from liteq.records import instant
from liteq.terminal import Cell, Column, Screen, ago, clean, counted, duration, local

_STATUS_STYLES = {"running": "cyan", "done": "green", "failed": "red", "cancelled": "yellow"}
_STATE_STYLES = {"active": "green", "silent": "yellow", "dead": "red"}
_QUEUES = (
    Column("QUEUE"),
    *(Column(name.upper(), number=True) for name in STATUSES),
    Column("WAITING", number=True),
    Column("WORKERS", number=True),
    Column(""),
)
_JOBS = (
    Column("ID", number=True),
    Column("TASK"),
    Column("QUEUE"),
    Column("STATUS"),
    Column("RUNS", number=True),
    Column("CREATED"),
    Column("NOTE"),
)
_WORKERS = (
    Column("WORKER"),
    Column("HOST"),
    Column("PID", number=True),
    Column("STATE"),
    Column("JOBS", number=True),
    Column("SLOTS", number=True),
    Column("HEARTBEAT"),
    Column("STARTED"),
    Column("QUEUES"),
)


def overview(
    screen: Screen, place: str, queues: list[dict[str, Any]], workers: list[dict[str, Any]] | None
) -> None:
    """Where the jobs are, who works on them (None: not known), and a line for each queue."""
    if screen.person:
        screen.line(f"{screen.paint('Database', 'dim')}  {clean(place)}")
        screen.line(f"{screen.paint('Workers', 'dim')}   {_workers_line(screen, workers)}")
        screen.line()
        if not queues:
            screen.line("No jobs yet.")
            return
    screen.table(_QUEUES, [_queue_row(queue) for queue in queues])


def jobs(screen: Screen, found: list[dict[str, Any]], now: float) -> None:
    """A line for each job."""
    screen.table(_JOBS, [_job_row(job, now) for job in found])


def workers(screen: Screen, found: list[dict[str, Any]], now: float) -> None:
    """A line for each worker."""
    screen.table(_WORKERS, [_worker_row(worker, now) for worker in found])


def job(screen: Screen, details: dict[str, Any], now: float) -> None:
    """All about one job: a fact a line, then its runs that did not end well."""
    _fact(screen, "job", str(details["id"]), "bold")
    _fact(screen, "status", details["status"], _STATUS_STYLES.get(details["status"], ""))
    for name, value in _facts(details, now, person=screen.person):
        _fact(screen, name, value)
    for run in details["history"]:
        screen.line()
        _run(screen, run, now)
    if screen.person and details["status"] == "pending":
        screen.line()
        screen.line(f"Why is it not running? liteq doctor {details['id']}", "dim")


def findings(screen: Screen, found: Sequence[Finding], summary: str) -> None:
    """The findings, each with what to do about it, and the upshot."""
    for finding in found:
        if screen.person:
            _finding(screen, finding)
        else:
            cells = (finding.level, finding.title, finding.detail, finding.remedy or "")
            screen.line("\t".join(clean(cell) for cell in cells))
    if screen.person:
        screen.line()
        screen.line(clean(summary), "bold")
    else:
        screen.line(f"summary\t{clean(summary)}")


# ── rows ──


def _workers_line(screen: Screen, workers: list[dict[str, Any]] | None) -> str:
    if workers is None:
        return "not on record here"
    active = [worker for worker in workers if worker["state"] == "active"]
    if not active:
        return screen.paint("none is running", "yellow")
    slots = sum(worker["concurrency"] for worker in active)
    in_hand = sum(worker["active_tasks"] for worker in active)
    parts = (f"{len(active)} active", counted(slots, "slot"), f"{counted(in_hand, 'job')} in hand")
    return ", ".join(parts)


def _queue_row(queue: dict[str, Any]) -> list[Cell]:
    wait, count, paused = queue["oldest_wait"], queue["workers"], queue["paused_at"]
    unserved = queue["pending"] and count == 0
    workers = "" if count is None else str(count)
    return [
        Cell(queue["queue"], style="bold"),
        *(_count_cell(queue[status], _STATUS_STYLES.get(status, "")) for status in STATUSES),
        Cell("") if wait is None else Cell(duration(wait), f"{wait:.3f}"),
        Cell("none" if unserved else workers, workers, "red" if unserved else ""),
        Cell("") if paused is None else Cell("paused", paused or "paused", "yellow"),
    ]


def _count_cell(count: int, style: str) -> Cell:
    return Cell(f"{count:,}", str(count), style if count else "dim")


def _job_row(job: dict[str, Any], now: float) -> list[Cell]:
    return [
        Cell(str(job["id"]), style="bold"),
        Cell(job["name"]),
        Cell(job["queue"]),
        Cell(job["status"], style=_STATUS_STYLES.get(job["status"], "")),
        Cell(f"{job['attempts']}/{job['max_retries'] + 1}"),
        _when_cell(job["created_at"], now),
        Cell(_note(job, now)),
    ]


def _note(job: dict[str, Any], now: float) -> str:
    """What matters most of a job in this state."""
    if job["status"] == "done":
        took = _took(job)
        return f"took {took}" if took else ""
    if job["status"] == "running":
        lasting = duration(max(0.0, now - instant(job["started_at"], now)))
        return f"for {lasting} on {job['worker_id']}"
    due = instant(job["run_at"], now)
    later = ago(due, now) if job["status"] == "pending" and due > now else ""
    return ": ".join(part for part in (later, job["error"]) if part)


def _worker_row(worker: dict[str, Any], now: float) -> list[Cell]:
    state = worker["state"]
    return [
        Cell(worker["worker_id"] or "(unknown)", worker["worker_id"], "bold"),
        Cell(worker["hostname"]),
        Cell(str(worker["pid"] or "")),
        Cell(state, style=_STATE_STYLES[state]),
        Cell(str(worker["active_tasks"])),
        Cell(str(worker["concurrency"])),
        _when_cell(worker["last_heartbeat"], now),
        _when_cell(worker["started_at"], now),
        Cell(worker["queues"]),
    ]


def _when_cell(text: str | None, now: float) -> Cell:
    return Cell("") if text is None else Cell(ago(instant(text, now), now), text)


# ── one job ──


def _facts(job: dict[str, Any], now: float, *, person: bool) -> list[tuple[str, str]]:
    most = job["max_retries"] + 1
    facts = [
        ("call", _call(job)),
        ("queue", job["queue"]),
        ("priority", str(job["priority"])),
        ("runs", f"{job['attempts']} of at most {most}" if person else f"{job['attempts']}/{most}"),
        ("timeout", "" if job["timeout"] is None else f"{job['timeout']:g} s"),
    ]
    for name, label in (
        ("created_at", "created"),
        ("run_at", "due"),
        ("started_at", "started"),
        ("finished_at", "finished"),
    ):
        text = job[name] or ""
        facts.append((label, _moment(text, now) if person and text else text))
    facts += [
        ("took", _took(job)),
        ("worker", job["worker_id"] or ""),
        ("result", json.dumps(job["result"], ensure_ascii=False) if _has_result(job) else ""),
        ("error", job["error"] or ""),
    ]
    return [(name, value) for name, value in facts if value]


def _fact(screen: Screen, name: str, value: str, style: str = "") -> None:
    if screen.person:
        screen.line(f"{screen.paint(f'{name:<9}', 'dim')} {screen.paint(clean(value), style)}")
    else:
        screen.line(f"{name}\t{clean(value)}")


def _run(screen: Screen, run: dict[str, Any], now: float) -> None:
    started = run["started_at"]
    lasted = duration(max(0.0, instant(run["finished_at"], now) - instant(started, now)))
    where = f" on worker {run['worker_id']}" if run["worker_id"] else ""
    heading, ending = (
        screen.paint(f"run {run['attempt']}", "bold"),
        screen.paint(run["ending"], "red"),
    )
    when = _moment(started, now) if screen.person else started
    screen.line(f"{heading} {ending} after {lasted}{clean(where)}, started {when}")
    for line in (run["traceback"] or run["error"] or "").splitlines():
        screen.line(f"    {clean(line)}")


def _call(job: dict[str, Any]) -> str:
    """The call as Python would write it, with the arguments as JSON."""
    try:
        payload = json.loads(job["payload"])
        arguments = [_json(value) for value in payload.get("args", [])]
        arguments += [f"{name}={_json(value)}" for name, value in payload.get("kwargs", {}).items()]
    except (ValueError, AttributeError, TypeError):  # written by another program
        return f"{job['name']}, payload {job['payload']}"
    return f"{job['name']}({', '.join(arguments)})"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _has_result(job: dict[str, Any]) -> bool:
    return bool(job["status"] == "done")


def _took(job: dict[str, Any]) -> str:
    if not job["started_at"] or not job["finished_at"]:
        return ""
    return duration(max(0.0, instant(job["finished_at"], 0.0) - instant(job["started_at"], 0.0)))


def _moment(text: str, now: float) -> str:
    then = instant(text, now)
    return f"{local(then)} ({ago(then, now)})"


# ── findings ──


def _finding(screen: Screen, finding: Finding) -> None:
    title = screen.paint(clean(finding.title), "bold")
    screen.line(f"{screen.mark(finding.level)} {title}: {clean(finding.detail)}")
    if finding.remedy:
        screen.line(f"    {screen.paint(f'→ {clean(finding.remedy)}', 'cyan')}")
