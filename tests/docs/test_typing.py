"""Typing: what a user's type checker says of `.delay()` and its like."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

PROGRAM = """\
from datetime import timedelta
from liteq import JobId, enqueue, task
from liteq.job import NewJob

@task()
def send(to: str, copies: int = 1) -> bool:
    return True

@task
async def fetch(url: str) -> bytes:
    return b""

async def right() -> None:
    one: JobId = send.delay("a", copies=2)
    two: JobId = send.schedule(timedelta(hours=1), "a")
    three: JobId = send.options(queue="slow", delay=5).delay("a")
    many: list[JobId] = enqueue(send.job(to) for to in ("a", "b"))
    called: bool = send("a")
    awaited: JobId = await fetch.adelay("b")
    body: bytes = await fetch("b")
    data: NewJob = fetch.job("b")

send.delay(1)
send.delay("a", copy=2)
send.delay()
send.schedule(timedelta(hours=1), to=1)
send.options(queue="slow").delay(b"a")
send.options(speed=1)
fetch.job(url=None)
text: str = send("a")
task(queue=5)
"""


def test_calls_are_checked_by_the_tasks_own_signature(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)

    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "program.py"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "MYPYPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    wrong = {
        int(line) for line in re.findall(r"^program\.py:(\d+): error", done.stdout, re.MULTILINE)
    }
    first = PROGRAM.splitlines().index("send.delay(1)") + 1
    assert wrong == set(range(first, first + 9)), done.stdout + done.stderr


def test_programs_with_lara_queue_are_typed():
    examples = ["lara_queue_sync.py", "async_example.py", "laravel_tasks.py"]

    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--config-file=",
            "--cache-dir=/dev/null",
            *examples,
        ],
        cwd=ROOT / "examples",
        env={"PATH": "/usr/bin:/bin", "MYPYPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
