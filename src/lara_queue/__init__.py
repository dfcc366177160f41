"""lara_queue: Python and Laravel on the same queues, both ways. A thin front door to LiteQ.

from lara_queue import Queue

queue = Queue(redis.Redis(), queue="python")
queue.push("App\\\\Jobs\\\\SendReport", {"report": 7})
"""

from lara_queue.aqueue import AsyncQueue
from lara_queue.desk import Database, database
from lara_queue.events import AsyncIOEventEmitter, EventEmitter
from lara_queue.letters import DeadLetter
from lara_queue.metrics import Metrics
from lara_queue.project import Project, from_laravel
from lara_queue.queue import Queue
from lara_queue.settings import FailedJob, Settings
from liteq.backoff import RetryPolicy
from liteq.brokers.laravel.routes import unique_by
from liteq.errors import Cancel, EncodingError, Retry, UnreadablePayload
from liteq.laravel.phpserialize import PhpEnum, PhpObject

__all__ = [
    "AsyncIOEventEmitter",
    "AsyncQueue",
    "Cancel",
    "Database",
    "DeadLetter",
    "EncodingError",
    "EventEmitter",
    "FailedJob",
    "Metrics",
    "PhpEnum",
    "PhpObject",
    "Project",
    "Queue",
    "Retry",
    "RetryPolicy",
    "Settings",
    "UnreadablePayload",
    "database",
    "from_laravel",
    "unique_by",
]
