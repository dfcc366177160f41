"""Verdict: was any promise broken? Judges what the crash test has left behind; starts nothing.

Promised is: what `.delay()` has returned is run; a job is `done` with its result, or `failed` with
its reason, none is left running; it runs again only if it was in flight when its process or its
worker was killed, and never twice at the same time; each run that began is a counted attempt; the
file is sound.
"""

import itertools
import json
import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple

from benchmarks.report import percentile

UNSETTLED = 1.0  # seconds within which the end of a run is stored, unless somebody is killed


class Kill(NamedTuple):
    """Whom we have killed, and when by the steady clock."""

    at: float
    gone: float  # when it was gone for sure, and if it was a worker, its processes too
    pid: int
    kind: str  # worker, child or feeder


@dataclass(slots=True)
class Run:
    """One run of a job, by its own notes."""

    job: int
    began: float
    pid: int
    worker: int  # pid
    ended: float | None = None
    kill: Kill | None = None  # what ended it, or lost its result


class Row(NamedTuple):
    """A job as it is stored at the end."""

    id: int
    payload: str
    status: str
    attempts: int
    max_retries: int
    result: str | None
    error: str | None


@dataclass(slots=True)
class Verdict:
    """The figures, and the promises that were broken."""

    jobs: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    runs: int = 0
    cut_off: int = 0  # runs that a kill ended
    unrecorded: int = 0  # runs that ended, whose worker was killed before it had stored that
    unnoted: int = 0  # attempts that were counted though the task had not noted its begin yet
    reasons: dict[str, int] = field(default_factory=dict)  # of failed jobs, without numbers
    recoveries: list[float] = field(default_factory=list)  # seconds, after a worker's death
    child_recoveries: list[float] = field(default_factory=list)  # after a pool process' death
    slowest: list[tuple[float, Run, Run]] = field(default_factory=list)  # of both: from, to
    faults: list[str] = field(default_factory=list)

    def recovery(self, percent: float) -> float:
        """Seconds from a worker's death to its job's new run, this percentile of them."""
        return percentile(self.recoveries, percent) if self.recoveries else 0.0


def judge(
    rows: Sequence[Row], journal: Iterable[str], promised: Iterable[int], kills: Sequence[Kill]
) -> Verdict:
    """The verdict on jobs, runs and kills; the faults of the surroundings are for the caller."""
    runs = runs_of(journal)
    verdict = Verdict(jobs=len(rows), runs=sum(map(len, runs.values())))
    _assign(runs, kills)
    stored = {row.id for row in rows}
    for lost in sorted(set(promised) - stored):
        verdict.faults.append(f"job {lost} was promised and is not there")
    for stranger in sorted(runs.keys() - stored):
        verdict.faults.append(f"job {stranger} has run and is not there")
    for row in rows:
        verdict.statuses[row.status] = verdict.statuses.get(row.status, 0) + 1
        _judge_job(row, runs.get(row.id, []), verdict)
    verdict.slowest = sorted(verdict.slowest, key=itemgetter(0), reverse=True)[:5]
    return verdict


def runs_of(journal: Iterable[str]) -> dict[int, list[Run]]:
    """The runs of each job, in order, out of the notes that the tasks have made."""
    runs: dict[int, list[Run]] = defaultdict(list)
    for line in journal:
        what, job, at, pid, worker = line.split()
        if what == "begin":
            runs[int(job)].append(Run(int(job), float(at), int(pid), int(worker)))
        else:
            of_process = [run for run in runs[int(job)] if run.pid == int(pid)]
            of_process[-1].ended = float(at)
    return runs


def stored_rows(connection: sqlite3.Connection) -> list[Row]:
    """All jobs of the database."""
    columns = ", ".join(Row._fields)
    return [Row._make(row) for row in connection.execute(f"SELECT {columns} FROM tasks")]


def _assign(runs: Mapping[int, Sequence[Run]], kills: Sequence[Kill]) -> None:
    """To each run the first kill of its process or worker after it began."""
    by_pid: dict[int, list[Kill]] = defaultdict(list)
    for kill in kills:
        by_pid[kill.pid].append(kill)
    for of_job in runs.values():
        for run in of_job:
            later = [
                kill for kill in by_pid[run.pid] + by_pid[run.worker] if kill.gone >= run.began
            ]
            run.kill = min(later, default=None)


def _judge_job(row: Row, runs: Sequence[Run], verdict: Verdict) -> None:
    faults = verdict.faults
    if row.status == "done":
        if row.result != str(json.loads(row.payload)["args"][0]):
            faults.append(f"job {row.id} is done with result {row.result!r}, not its own")
        if not runs or runs[-1].ended is None:
            faults.append(f"job {row.id} is done, but its last run never ended")
    elif row.status == "failed":
        reason = re.sub(r"\S*\d\S*", "…", row.error or "")  # without pids and names
        verdict.reasons[reason] = verdict.reasons.get(reason, 0) + 1
        if not row.error:
            faults.append(f"job {row.id} failed without a reason")
        if row.attempts != row.max_retries + 1:
            faults.append(f"job {row.id} failed after {row.attempts} attempts")
        if any(run.kill is None for run in runs):
            faults.append(f"job {row.id} failed, though nobody had killed one of its runs")
    else:
        faults.append(f"job {row.id} is {row.status} at the end")
    if not runs:
        faults.append(f"job {row.id} never ran")
    if row.attempts < len(runs):
        faults.append(f"job {row.id} ran {len(runs)} times, counted are {row.attempts}: {runs}")
    unnoted = max(0, row.attempts - len(runs))
    verdict.unnoted += unnoted
    for run, following in itertools.pairwise(runs):
        # Only a first loss goes round at once; a further one waits for its retry delay.
        _judge_repeat(run, following, verdict, first=run is runs[0] and not unnoted)


def _judge_repeat(run: Run, following: Run, verdict: Verdict, *, first: bool) -> None:
    kill, what = run.kill, f"job {run.job} ran again"
    if kill is None or kill.at > following.began:
        verdict.faults.append(f"{what}, though nobody had killed its process: {run}, {following}")
        return
    if run.ended is None:
        verdict.cut_off += 1
    elif run.ended > following.began:
        verdict.faults.append(f"{what}, while it was still running until {run.ended:.3f}")
    elif kill.at - run.ended > UNSETTLED:
        wait = kill.at - run.ended
        verdict.faults.append(f"{what}: it had ended {wait:.1f} s before the {kill.kind}'s death")
    else:
        verdict.unrecorded += 1
    if first:
        recoveries = verdict.recoveries if kill.kind == "worker" else verdict.child_recoveries
        recoveries.append(following.began - kill.at)
        verdict.slowest.append((following.began - kill.at, run, following))
