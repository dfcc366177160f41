"""The producer of the crash test: keeps the queue filled, and notes each id that it was given.

    python -m benchmarks.feeder JOBS SEED STOP_FILE

It notes an id after `.delay()` has returned it, so every id in the file is a promise: that job is
stored. It may be killed and started again at any time. It ends when there are JOBS jobs and the
stop file has come.
"""

import os
import random
import sys
import time
from typing import Any

from benchmarks import victims
from liteq import db, enqueue
from liteq.core import Task

_BACKLOG = 300  # jobs that wait, so that no worker is ever idle
_BULK = 50


def main(jobs: str, seed: str, stop_file: str) -> None:
    """Feed until there is enough."""
    chance = random.Random(seed)
    promised = os.open(os.environ["CRASH_PROMISES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    connection = db.get_conn()
    while True:
        (total,) = connection.execute("SELECT coalesce(max(id), 0) FROM tasks").fetchone()
        if total >= int(jobs) and os.path.exists(stop_file):
            return
        (waiting,) = connection.execute(
            "SELECT count(*) FROM tasks WHERE status = 'pending' AND place > 0 AND queue = 'crash'"
        ).fetchone()
        if waiting > _BACKLOG:
            time.sleep(0.01)
            continue
        for ids in (_in_bulk(chance), _one(chance)):
            os.write(promised, "".join(f"{id}\n" for id in ids).encode())


def _in_bulk(chance: random.Random) -> list[int]:
    calls = [_call(chance) for _ in range(_BULK)]
    return [*enqueue(task.job(number, seconds) for task, number, seconds in calls)]


def _one(chance: random.Random) -> list[int]:
    task, number, seconds = _call(chance)
    return [task.delay(number, seconds)]


def _call(chance: random.Random) -> tuple[Task[[int, float], Any], int, float]:
    """A task and its arguments: most jobs are short, some take a while."""
    seconds = chance.uniform(0.02, 0.08) if chance.random() < 0.15 else chance.uniform(0, 0.005)
    task = victims.aleave if chance.random() < 0.3 else victims.leave
    return task, chance.randrange(1_000_000), seconds


if __name__ == "__main__":
    main(*sys.argv[1:])
