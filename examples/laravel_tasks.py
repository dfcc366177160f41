"""Laravel's jobs as LiteQ tasks: a task named like a job class runs what Laravel dispatches.

    liteq worker --app examples/laravel_tasks.py --concurrency 4 \
        --url "laravel+redis://localhost:6379/0?queues=liteq-example-tasks"

python examples/laravel_tasks.py     pushes two jobs and runs them so; REDIS_URL says where
"""

import os
import subprocess
import sys
from datetime import datetime, timezone

import redis

from lara_queue import Queue
from liteq import RetryPolicy, context, task

REDIS_URL = os.environ.get("REDIS_URL", "redis://localhost:6379/0")
QUEUE = "liteq-example-tasks"


@task(name="App\\Jobs\\SendReport", timeout=60, retry=RetryPolicy("fixed", first=10))
def send_report(report: int, until: datetime, format: str = "pdf") -> None:
    """Gets the properties that it names; those left out in PHP take the defaults here."""
    print(f"report {report} until {until:%d.%m.%Y} as {format}, attempt {context.attempt}")


@task(name="App\\Jobs\\Greet")
async def greet(name: str) -> None:
    print(f"hello {name}")


def main() -> None:
    client = redis.Redis.from_url(REDIS_URL)
    queue = Queue(client, queue=QUEUE)
    queue.clear()
    until = datetime(2026, 12, 31, tzinfo=timezone.utc)
    queue.push("App\\Jobs\\SendReport", {"report": 7, "until": until})
    queue.push("App\\Jobs\\Greet", {"name": "Ann"})

    url = f"laravel+{REDIS_URL}?queues={QUEUE}"
    command = [sys.executable, "-m", "liteq", "worker", "--app", __file__, "--url", url]
    subprocess.run([*command, "--burst", "--log-level", "error"], check=True)

    print(f"left: {sum(queue.size())}")


if __name__ == "__main__":
    main()
