"""What the worker tests are played with: real workers in real processes, and ways to wait."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from liteq import brokers, get_task_status, times
from liteq.pools import marks

APP = str(Path(__file__).with_name("chores.py"))
PATIENCE = 20.0  # seconds; only a broken promise ever takes as long


def wait_for(condition, what, seconds=PATIENCE):
    """What `condition()` returns once it is true; fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.005)


def status(job):
    """What is stored of the job."""
    found = get_task_status(job)
    assert found is not None
    return found


def ended(job, seconds=PATIENCE):
    """What is stored of the job once it has ended for good."""
    wait_for(
        lambda: status(job)["status"] in ("done", "failed", "cancelled"),
        f"the end of job {int(job)}: {status(job)}",
        seconds,
    )
    return status(job)


def begun(job):
    """Wait until the job has told that it runs (see chores.tell)."""
    wait_for(lambda: status(job)["status"] == "running", f"a run of job {int(job)}")


def attempts(job):
    """The runs of the job that did not end well."""
    return brokers.current().attempts(int(job))


def instant(text):
    """Seconds since the epoch of a stored time."""
    return times.instant(text)


def insert(text, *values):
    """Run SQL as another program would, with nothing but the sqlite3 module; the new row's id."""
    connection = sqlite3.connect(os.environ["LITEQ_DB"], timeout=10)
    try:
        with connection:
            return connection.execute(text, values).lastrowid
    finally:
        connection.close()


class Notes:
    """A file that tasks write lines into, one `write` each, which the system keeps whole."""

    def __init__(self, path):
        self.path = str(path)

    def lines(self):
        try:
            return Path(self.path).read_text().splitlines()
        except FileNotFoundError:
            return []

    def wait(self, count, seconds=PATIENCE):
        """The lines, once there are at least so many."""
        return wait_for(
            lambda: len(self.lines()) >= count and self.lines(),
            f"{count} lines in {self.path}, there are {len(self.lines())}",
            seconds,
        )


class Hand:
    """A running worker."""

    def __init__(self, process, folder, number):
        self.process = process
        self.pid = process.pid
        self._out = Path(folder) / f"worker{number}.out"
        self._log = Path(folder) / f"worker{number}.log"

    def log(self):
        return self._log.read_text()

    def out(self):
        return self._out.read_text()

    def ready(self):
        """Wait until it works."""
        wait_for(
            lambda: "started:" in self.log() or self.process.poll() is not None,
            f"a worker that starts: {self.log()}",
        )
        return self

    def children(self):
        """The pids of its pool processes."""
        return _children(self.pid)

    def send(self, number):
        os.kill(self.pid, number)

    def kill(self):
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait(PATIENCE)

    def stop(self, seconds=PATIENCE):
        """Ask it to stop; its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(seconds)

    def wait(self, seconds=PATIENCE):
        """Its exit code, once it ends by itself."""
        return self.process.wait(seconds)

    def abandon(self):
        """Leave nothing of it behind."""
        children = self.children()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait(PATIENCE)
        wait_for(lambda: not any(alive(pid) for pid in children), "the end of pool processes")

    def cpu_seconds(self):
        """Processor time that the worker itself has used so far (proc(5), utime and stime)."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Crew:
    """Starts workers in a folder, on the database that LITEQ_DB names."""

    def __init__(self, folder):
        self.folder = folder
        self._hands = []
        self._scripts = []

    def hire(self, *options, app=APP, env=None, wait=True):
        """A worker with these options of the command line, and these settings."""
        number = len(self._hands) + 1
        with (
            open(self.folder / f"worker{number}.out", "w") as out,
            open(self.folder / f"worker{number}.log", "w") as log,
        ):
            process = subprocess.Popen(
                [sys.executable, "-m", "liteq", "worker", "--app", str(app), *options],
                cwd=self.folder,
                env={**os.environ, **(env or {})},
                stdout=out,
                stderr=log,
            )
        hand = Hand(process, self.folder, number)
        self._hands.append(hand)
        return hand.ready() if wait else hand

    def script(self, text, *arguments, env=None):
        """A Python program of its own in the folder."""
        path = self.folder / f"script{len(self._scripts)}.py"
        path.write_text(text)
        process = subprocess.Popen(
            [sys.executable, str(path), *map(str, arguments)],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(Path(APP).parent), **(env or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._scripts.append(process)
        return process

    def dismiss(self):
        """End them all."""
        for hand in self._hands:
            hand.abandon()
            for worker in re.findall(r"worker (\S+) started", hand.log()):
                marks.remove_of(worker)  # nobody will come and look why it died
        for script in self._scripts:
            script.kill()
            with script:  # closes its pipes and waits for it
                pass


def done(process, seconds=60):
    """The JSON that a script printed last."""
    out, err = process.communicate(timeout=seconds)
    assert process.returncode == 0, err
    return json.loads(out.splitlines()[-1])


def _children(pid):
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except FileNotFoundError:
        return False
