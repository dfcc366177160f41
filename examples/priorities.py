"""Priorities: what is urgent runs first, whatever was queued before it.

python examples/priorities.py
"""

import os
import tempfile

from liteq import Worker, get_task_status, task

os.environ.setdefault("LITEQ_DB", os.path.join(tempfile.mkdtemp(), "priorities.db"))


@task()
def handle(what: str) -> str:
    return what


@task(priority=50)
def alarm(what: str) -> str:
    return what


def main() -> None:
    jobs = [
        handle.options(priority=-10).delay("clean up"),
        handle.delay("newsletter 1"),
        handle.delay("newsletter 2"),
        handle.options(priority=10).delay("password reset"),
        alarm.delay("fire"),
        handle.options(priority=10).delay("login code"),
    ]

    # One process, so that the order is plain to see.
    Worker(concurrency=1, burst=True).run()

    rows = [get_task_status(job) or {} for job in jobs]
    for row in sorted(rows, key=lambda row: str(row["started_at"])):
        print(f"priority {row['priority']:3}  {row['result']}")


if __name__ == "__main__":
    main()
