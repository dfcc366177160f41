"""Multiple queues: tasks go to queues by name, workers take the queues that you give them.

python examples/multiple_queues.py
"""

import os
import tempfile

from liteq import Worker, task
from liteq.monitoring import get_queue_stats

os.environ.setdefault("LITEQ_DB", os.path.join(tempfile.mkdtemp(), "queues.db"))


@task(queue="emails")
def send_email(to: str) -> str:
    return f"email to {to}"


@task(queue="reports")
def build_report(number: int) -> str:
    return f"report {number}"


@task(queue="push")
def send_push(user: int, text: str) -> str:
    return f"push {text!r} to user {user}"


def show(title: str) -> None:
    print(title)
    for stat in get_queue_stats():
        print(f"  {stat['queue']:8} {stat['count']} {stat['status']}")


def main() -> None:
    for number in range(3):
        send_email.delay(f"user{number}@example.com")
        build_report.delay(number)
    push = send_push.delay(1, "Hello")
    rerouted = send_push.options(queue="emails").delay(2, "by another queue, for this call only")
    show("queued:")

    # Each of these would be a process of its own: liteq worker --queues emails,push
    Worker(queues=["emails", "push"], concurrency=2, burst=True).run()
    show("after a worker for emails and push:")

    Worker(queues=["reports"], concurrency=1, burst=True).run()
    show("after a worker for reports:")

    print(push.result())
    print(rerouted.result())


if __name__ == "__main__":
    main()
