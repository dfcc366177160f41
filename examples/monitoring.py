"""Monitoring: ask what is queued, what ran, what failed and who works.

python examples/monitoring.py
"""

import os
import subprocess
import sys
import tempfile
import time

from liteq import task
from liteq.monitoring import (
    get_active_workers,
    get_failed_tasks,
    get_queue_stats,
    get_recent_tasks,
    list_queues,
)

os.environ.setdefault("LITEQ_DB", os.path.join(tempfile.mkdtemp(), "monitoring.db"))


@task()
def good(number: int) -> int:
    time.sleep(0.3)
    return number * number


@task(queue="shaky", max_retries=0)
def bad(user: int) -> None:
    raise LookupError(f"no user {user}")


def main() -> None:
    for number in range(6):
        good.delay(number)
    bad.delay(7)

    command = [sys.executable, "-m", "liteq", "worker", "--app", __file__, "--burst"]
    with subprocess.Popen([*command, "--concurrency", "2", "--log-level", "error"]) as process:
        while process.poll() is None:
            for worker in get_active_workers():
                print(f"worker {worker['worker_id']}: {worker['active_tasks']} jobs at work")
            time.sleep(0.3)

    print("queues:", ", ".join(list_queues()))
    for stat in get_queue_stats():
        print(f"  {stat['queue']}: {stat['count']} {stat['status']}")
    print("last three:", [row["id"] for row in get_recent_tasks(limit=3)])
    for row in get_failed_tasks(limit=5):
        print(f"job {row['id']} ({row['name']}) failed: {row['error']}")


if __name__ == "__main__":
    main()
