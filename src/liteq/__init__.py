"""LiteQ: a task queue that starts as one SQLite file.

    from liteq import task

    @task()
    def send_email(to: str, subject: str) -> str: ...

    job = send_email.delay("user@example.com", subject="Hello")

Run the jobs with `liteq worker --app tasks.py`.
"""

from typing import TYPE_CHECKING, Any

from liteq.backoff import RetryPolicy
from liteq.context import context
from liteq.core import JobId, Task, aenqueue, enqueue, get_task_status, task
from liteq.errors import (
    BrokerError,
    Cancel,
    EncodingError,
    InvalidArguments,
    JobNotFound,
    LiteqError,
    PayloadTooLarge,
    Retry,
    TaskCancelled,
    TaskFailed,
    TaskNotFound,
    TaskTimeout,
)

if TYPE_CHECKING:
    from liteq.worker import Worker

__version__ = "1.0.0.dev0"
__all__ = [
    "BrokerError",
    "Cancel",
    "EncodingError",
    "InvalidArguments",
    "JobId",
    "JobNotFound",
    "LiteqError",
    "PayloadTooLarge",
    "Retry",
    "RetryPolicy",
    "Task",
    "TaskCancelled",
    "TaskFailed",
    "TaskNotFound",
    "TaskTimeout",
    "Worker",
    "aenqueue",
    "context",
    "enqueue",
    "get_task_status",
    "task",
]


def __getattr__(name: str) -> Any:
    """The worker costs 30 ms to import, and a program that only queues never needs it."""
    if name == "Worker":
        from liteq.worker import Worker

        return Worker
    raise AttributeError(f"module 'liteq' has no attribute {name!r}")
