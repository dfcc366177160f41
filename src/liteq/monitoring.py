"""Monitoring: questions about the queue, with answers as plain data. Changes nothing.

Each function asks the broker that LITEQ_URL or LITEQ_DB name at that moment. Times are ISO-8601
UTC text, as stored.
"""

from collections import Counter
from typing import Any, Literal

from liteq import brokers, machine, records, times
from liteq.brokers.base import Store
from liteq.job import STATUSES, Filter, WorkerInfo

ACTIVE = 15.0  # seconds since the last heartbeat, as LiteQ has always counted

WorkerState = Literal["active", "silent", "dead"]


def get_queue_stats() -> list[dict[str, Any]]:
    """How many jobs there are: `{"queue": ..., "status": ..., "count": ...}`, sorted."""
    return [
        {"queue": queue, "status": status, "count": count}
        for queue, status, count in brokers.current().count()
    ]


def get_recent_tasks(limit: int = 50) -> list[dict[str, Any]]:
    """The newest jobs, newest first: all columns of `tasks`, `result` decoded."""
    return find_tasks(Filter(), limit)


def list_queues() -> list[str]:
    """The names of all queues that hold jobs, sorted."""
    return sorted({queue for queue, _, _ in brokers.current().count()})


def get_failed_tasks(limit: int = 50) -> list[dict[str, Any]]:
    """The newest failed jobs, newest first: all columns of `tasks`."""
    return find_tasks(Filter(status="failed"), limit)


def get_active_workers() -> list[dict[str, Any]]:
    """The workers that gave a sign of life in the last 15 seconds.

    Keys: worker_id, hostname, queues (comma-separated), concurrency, last_heartbeat,
    active_tasks, pid, started_at.
    """
    workers = get_workers()
    return [_without_state(worker) for worker in workers if worker["state"] == "active"]


def get_workers() -> list[dict[str, Any]]:
    """All workers on record: as `get_active_workers`, and their `state`.

    "active"; "silent" without a heartbeat for 15 seconds; "dead" when its process is gone.
    """
    store = brokers.current()
    now = store.clock.wall()
    return [_worker_as_dict(store, worker, now) for worker in store.workers()]


def get_queue_overview() -> list[dict[str, Any]]:
    """A line for each queue that holds jobs, is paused or has an active worker, sorted.

    Keys: queue, a count for each status, oldest_wait (seconds, None: nothing is due), paused_at
    (None: not paused; "": since when is not known) and workers (how many active ones listen;
    None: not known).
    """
    store = brokers.current()
    counts: dict[str, dict[str, int]] = {}
    for queue, status, count in store.count():
        counts.setdefault(queue, {})[status] = count
    waits, paused, listening = store.oldest_due(), store.paused(), listeners(store)
    known = "records" in store.supports
    return [
        {
            "queue": queue,
            **{status: counts.get(queue, {}).get(status, 0) for status in STATUSES},
            "oldest_wait": waits.get(queue),
            "paused_at": paused.get(queue),
            "workers": listening[queue] if known else None,
        }
        for queue in sorted({*counts, *paused, *listening})
    ]


def find_tasks(which: Filter, limit: int = 50) -> list[dict[str, Any]]:
    """Jobs that match, newest first: all columns of `tasks`, `result` decoded."""
    return [records.as_dict(record) for record in brokers.current().find(which, limit)]


def get_task_details(task_id: int) -> dict[str, Any] | None:
    """One job with its `history`: the attempts that did not end well, oldest first; or None.

    Keys of each: attempt, ending, worker_id, started_at, finished_at, error, traceback.
    """
    store = brokers.current()
    record = store.get(task_id)
    if record is None:
        return None
    history = [attempt._asdict() for attempt in store.attempts(task_id)]
    return {**records.as_dict(record), "history": history}


def how_many(which: Filter, enough: int = 10_000) -> int:
    """How many jobs match; where only a walk over the jobs can tell, it ends at `enough`."""
    store = brokers.current()
    if which == Filter(queue=which.queue, status=which.status):
        return sum(
            count
            for queue, status, count in store.count()
            if which.queue in (None, queue) and which.status in (None, status)
        )
    return len(store.find(which, enough))


def listeners(store: Store) -> Counter[str]:
    """How many active workers listen on each queue."""
    now = store.clock.wall()
    active = [worker for worker in store.workers() if state_of(worker, now) == "active"]
    return Counter(queue for worker in active for queue in worker.queues)


def state_of(worker: WorkerInfo, now: float) -> WorkerState:
    """Whether the worker lives, as far as can be told from here."""
    if is_gone(worker):
        return "dead"
    return "active" if now - worker.heartbeat < ACTIVE else "silent"


def is_gone(worker: WorkerInfo) -> bool:
    """Whether the worker ran on this machine, and its process does no longer."""
    here = worker.pid != 0 and worker.machine == machine.identity()
    return here and not machine.alive(worker.pid, worker.born)


def _worker_as_dict(store: Store, worker: WorkerInfo, now: float) -> dict[str, Any]:
    return {
        "worker_id": worker.worker_id,
        "hostname": worker.hostname,
        "queues": ",".join(worker.queues),
        "concurrency": worker.concurrency,
        "last_heartbeat": times.stamp(worker.heartbeat) if worker.heartbeat else None,
        "active_tasks": len(store.held(worker.worker_id)),
        "pid": worker.pid or None,
        "started_at": times.stamp(worker.started) if worker.started else None,
        "state": state_of(worker, now),
    }


def _without_state(worker: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in worker.items() if key != "state"}
