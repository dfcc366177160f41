"""The crash test: kill workers, pool processes and the producer with SIGKILL; then count the jobs.

`make crash` is the long version; the test suite runs a short one. Exit status 1 if a promise was
broken (see `verdict`).
"""

import argparse
import contextlib
import glob
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

from benchmarks import stage, verdict
from benchmarks.report import percentile
from benchmarks.verdict import Kill, Verdict
from liteq import machine

KINDS = ("workers", "children", "feeder")
RECOVERED = 2.0  # seconds, p99: from a worker's death to its jobs running again
_TROUBLE = ("Traceback", "locked", "refused", "lease lost", "broker in trouble")


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is to happen, and to whom."""

    kills: int
    jobs: int
    workers: int
    concurrency: int
    seed: int
    victims: tuple[str, ...]  # of KINDS; each kill takes one of them
    pause: float  # seconds between kills, on average


def main(argv: Sequence[str] | None = None) -> int:
    """Run the test and print what came of it."""
    args = _parser().parse_args(argv)
    plan = Plan(
        args.kills,
        args.jobs,
        args.workers,
        args.concurrency,
        args.seed,
        tuple(args.victims),
        args.pause,
    )
    began = time.monotonic()
    with stage.folder(args.dir) as folder:
        found = _Show(plan, folder).play()
    seconds = time.monotonic() - began
    print(summary(plan, found, seconds))
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            findings = {"plan": asdict(plan), "seconds": seconds, **asdict(found)}
            json.dump(findings, file, indent=2)
    return 1 if found.faults else 0


def summary(plan: Plan, found: Verdict, seconds: float) -> str:
    """What came of it, in words."""
    statuses = ", ".join(f"{count:,} {status}" for status, count in sorted(found.statuses.items()))
    whom = f"{', '.join(plan.victims)} (seed {plan.seed})"
    lines = [
        f"{plan.kills:,} kills of {whom}, {plan.workers} × {plan.concurrency}, {seconds:.0f} s",
        f"{found.jobs:,} jobs: {statuses}; {found.runs:,} runs",
        f"run again: {found.cut_off:,} cut off by a kill, {found.unrecorded:,} not yet on record",
        f"{found.unnoted:,} attempts counted whose process died before the task's first line",
        f"running again after a worker's death: {_spread(found.recoveries)}",
        f"running again after a pool process' death: {_spread(found.child_recoveries)}",
        *(f"{count:,} failed: {reason}" for reason, count in sorted(found.reasons.items())),
        *(f"BROKEN: {fault}" for fault in found.faults[:50]),
        f"{len(found.faults):,} broken promises" if found.faults else "every promise was kept",
    ]
    return "\n".join(lines)


def _spread(seconds: Sequence[float]) -> str:
    if not seconds:
        return "never seen"
    p50, p99, most = (percentile(seconds, percent) for percent in (50, 99, 100))
    return f"p50 {p50:.2f} s, p99 {p99:.2f} s, at most {most:.2f} s, {len(seconds):,} times"


class _Show:
    """One crash test, from empty file to verdict."""

    def __init__(self, plan: Plan, folder: str):
        self._plan = plan
        self._chance = random.Random(plan.seed)
        self._folder = folder
        self._database = os.path.join(folder, "crash.db")
        self._journal = os.path.join(folder, "journal")
        self._promises = os.path.join(folder, "promises")
        self._stop_file = os.path.join(folder, "stop")
        self._log = os.path.join(folder, "workers.log")
        self._workers: list[subprocess.Popen[bytes]] = []
        self._feeder: subprocess.Popen[bytes]
        self._feeders = 0
        self._kills: list[Kill] = []
        self._pids: set[int] = set()
        self._faults: list[str] = []

    def play(self) -> Verdict:
        """All of it."""
        with stage.database(self._database):
            pass
        with self._cast():
            while len(self._kills) < self._plan.kills:
                time.sleep(self._chance.expovariate(1 / self._plan.pause))
                self._kill_one()
            self._drain()
        return self._verdict()

    @contextlib.contextmanager
    def _cast(self) -> Iterator[None]:
        """Everybody on stage; all dismissed at the end, whatever happens."""
        try:
            self._start_feeder()
            for _ in range(self._plan.workers):
                self._start_worker()
            self._await(lambda: bool(self._lines(self._journal)), "a first job")
            yield
            self._dismiss()
        finally:
            for process in (*self._workers, self._feeder):
                process.kill()
                process.wait()

    def _start_worker(self) -> None:
        command = [sys.executable, "-m", "liteq", "worker", "--queues", "crash"]
        options = ["--app", os.path.join(stage.HERE, "victims.py"), "--log-level", "warning"]
        options += ["--concurrency", str(self._plan.concurrency)]
        with open(self._log, "ab") as log:
            worker = subprocess.Popen(
                [*command, *options], env=self._environment(), cwd=self._folder, stderr=log
            )
        self._workers.append(worker)
        self._pids.add(worker.pid)

    def _start_feeder(self) -> None:
        self._feeders += 1
        command = [sys.executable, "-m", "benchmarks.feeder", str(self._plan.jobs)]
        seed = f"{self._plan.seed}.{self._feeders}"
        self._feeder = subprocess.Popen(
            [*command, seed, self._stop_file], env=self._environment(), cwd=self._folder
        )

    def _environment(self) -> dict[str, str]:
        notes = {"CRASH_JOURNAL": self._journal, "CRASH_PROMISES": self._promises}
        return stage.environment(self._database, **notes)

    # ── killing ──

    def _kill_one(self) -> None:
        """Kill one of a kind, and put another in its place where its worker does not."""
        kind = self._chance.choice(self._plan.victims)
        if kind == "feeder":
            self._kill(self._feeder.pid, "feeder")
            self._feeder.wait()
            self._start_feeder()
            return
        worker = self._chance.choice(self._workers)
        if kind == "workers":
            self._workers.remove(worker)
            self._kill(worker.pid, "worker")
            worker.wait()
            self._start_worker()
            return
        children = stage.children(worker.pid)
        if children:  # else it has only just been started
            self._kill(self._chance.choice(children), "child")

    def _kill(self, pid: int, kind: str) -> None:
        """Kill it and see it gone, with the processes that are to go with it."""
        pids = stage.tree(pid)
        at = time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            while any(map(machine.born, pids)):
                time.sleep(0.001)
            self._kills.append(Kill(at, time.monotonic(), pid, kind))

    # ── the end ──

    def _drain(self) -> None:
        """Let the feeder make up the number of jobs, and wait for the last of them."""
        with open(self._stop_file, "wb"):
            pass
        if self._feeder.wait(stage.PATIENCE):
            self._faults.append(f"the producer exited with status {self._feeder.returncode}")
        with contextlib.closing(stage.reading(self._database)) as look:
            self._await(lambda: stage.is_drained(look), "all jobs ended")

    def _dismiss(self) -> None:
        for worker in self._workers:
            worker.terminate()
        for worker in self._workers:
            if worker.wait(60):
                self._faults.append(f"a worker exited with status {worker.returncode}")

    def _await(self, done: Callable[[], bool], what: str) -> None:
        """Wait; that it does not come is a fault, and the verdict then says of what."""
        try:
            stage.wait_until(done, what)
        except TimeoutError as error:
            self._faults.append(str(error))

    def _verdict(self) -> Verdict:
        with contextlib.closing(sqlite3.connect(self._database)) as connection:
            rows = verdict.stored_rows(connection)
            sound = connection.execute("PRAGMA integrity_check").fetchall()
            enrolled = connection.execute("SELECT worker_id FROM workers").fetchall()
        promised = map(int, self._lines(self._promises))
        found = verdict.judge(rows, self._lines(self._journal), promised, self._kills)
        found.faults[:0] = self._said_amiss() + self._faults
        if sound != [("ok",)]:
            found.faults.append(f"integrity_check: {sound[:3]}")
        if enrolled:
            found.faults.append(f"workers left on record: {enrolled}")
        if found.recovery(99) > RECOVERED:
            found.faults.append(f"recovery took {found.recovery(99):.2f} s (p99)")
        found.faults += self._left_behind()
        return found

    def _left_behind(self) -> list[str]:
        marks = [file for pid in self._pids for file in glob.glob(f"/dev/shm/liteq-*-{pid}-*")]
        return [f"left behind: {len(marks)} files such as {marks[0]}"] if marks else []

    def _said_amiss(self) -> list[str]:
        """What stands in the workers' logs that nothing here should cause."""
        log = self._lines(self._log)
        bad = [number for number, line in enumerate(log) if any(word in line for word in _TROUBLE)]
        return ["\n    ".join(["in the log:", *log[number : number + 30]]) for number in bad[:5]]

    @staticmethod
    def _lines(path: str) -> list[str]:
        if not os.path.exists(path):
            return []
        with open(path, encoding="utf-8") as file:
            return file.read().splitlines()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=100_000, help="at least so many")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--concurrency", type=int, default=2, help="processes of each worker")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--victims",
        nargs="+",
        choices=KINDS,
        default=list(KINDS),
        metavar="KIND",
        help=", ".join(KINDS),
    )
    parser.add_argument(
        "--pause", type=float, default=0.5, help="seconds between kills, on average"
    )
    parser.add_argument("--json", metavar="FILE", help="write all findings there")
    parser.add_argument("--dir", help="where to make the temporary folder (default: /var/tmp)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
