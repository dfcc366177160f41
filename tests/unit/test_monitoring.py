"""Every promise holds for every store: the functions know no broker."""

import os
import uuid

import pytest

from liteq import brokers, machine, monitoring, times
from liteq.job import Change, Filter, JobRecord, NewJob, WorkerInfo


@pytest.fixture(params=["sqlite", "memory"])
def store(request, tmp_path, monkeypatch):
    monkeypatch.delenv("LITEQ_DB", raising=False)
    urls = {"sqlite": f"sqlite:///{tmp_path}/q.db", "memory": f"memory://{uuid.uuid4().hex}"}
    monkeypatch.setenv("LITEQ_URL", urls[request.param])
    yield brokers.current()
    brokers.current().close()


def worker(store, name="w1", **facts):
    usual = {
        "worker_id": name,
        "hostname": "host",
        "queues": ("default", "emails"),
        "concurrency": 4,
        "pid": os.getpid(),
        "machine": machine.identity(),
        "born": machine.born(os.getpid()),
        "started": store.clock.wall(),
    }
    return WorkerInfo(**{**usual, **facts})


def failed(job, error):
    return Change(job.id, job.receipt, "failed", 1, 0, error=error, started=1.0, ended=2.0)


def test_queue_stats_count_by_queue_and_status(store):
    store.enqueue([NewJob("a", "{}"), NewJob("b", "{}"), NewJob("c", "{}", queue="emails")])
    store.claim("w1", ["emails"], 1, 30)

    assert monitoring.get_queue_stats() == [
        {"queue": "default", "status": "pending", "count": 2},
        {"queue": "emails", "status": "running", "count": 1},
    ]


def test_queues_are_listed_by_name(store):
    store.enqueue([NewJob("a", "{}", queue=queue) for queue in ("z", "a", "z")])

    assert monitoring.list_queues() == ["a", "z"]


def test_recent_tasks_are_newest_first_with_all_columns(store):
    ids = store.enqueue([NewJob(name, "{}") for name in "abc"])

    recent = monitoring.get_recent_tasks(limit=2)

    assert [task["id"] for task in recent] == [ids[2], ids[1]]
    assert set(recent[0]) == set(JobRecord._fields)


def test_failed_tasks_are_only_failed_ones_newest_first(store):
    store.enqueue([NewJob(name, "{}") for name in "abc"])
    jobs = store.claim("w1", ["default"], 2, 30)
    store.finish([failed(job, f"ValueError: {job.name}") for job in jobs])

    found = monitoring.get_failed_tasks()

    assert [(task["name"], task["error"]) for task in found] == [
        ("b", "ValueError: b"),
        ("a", "ValueError: a"),
    ]
    assert len(monitoring.get_failed_tasks(limit=1)) == 1


def test_an_active_worker_is_told_with_what_it_runs(store):
    store.enqueue([NewJob("a", "{}"), NewJob("b", "{}")])
    jobs = store.claim("w1", ["default"], 2, 30)
    started = store.clock.wall() - 60
    store.beat(worker(store, started=started), [job.receipt for job in jobs], 30)

    [active] = monitoring.get_active_workers()

    heartbeat = active.pop("last_heartbeat")
    assert active == {
        "worker_id": "w1",
        "hostname": "host",
        "queues": "default,emails",
        "concurrency": 4,
        "active_tasks": 2,
        "pid": os.getpid(),
        "started_at": times.stamp(started),
    }
    assert abs(times.instant(heartbeat) - store.clock.wall()) < 10


@pytest.mark.parametrize(("age", "names"), [(14.0, ["w1"]), (15.5, [])])
def test_a_worker_is_active_for_fifteen_seconds_after_its_heartbeat(store, age, names):
    store.beat(worker(store), [], 30)
    said = store.workers()[0].heartbeat

    class Later(type(store.clock)):
        def wall(self):
            return said + age

    store.clock = Later()

    assert [found["worker_id"] for found in monitoring.get_active_workers()] == names
    assert monitoring.get_workers()[0]["state"] == ("active" if names else "silent")


def test_a_worker_whose_process_is_gone_is_dead_at_once(store):
    store.beat(worker(store, born="long ago"), [], 30)

    assert monitoring.get_active_workers() == []
    assert monitoring.get_workers()[0]["state"] == "dead"


def test_the_process_of_another_machine_is_not_looked_for_here(store):
    store.beat(worker(store, machine="elsewhere", born="long ago"), [], 30)

    assert monitoring.get_workers()[0]["state"] == "active"


def test_a_worker_known_only_from_its_jobs_is_silent(store):
    store.enqueue([NewJob("a", "{}")])
    store.claim("w1", ["default"], 1, 30)
    store.forget("w1")

    [found] = monitoring.get_workers()

    assert (found["worker_id"], found["active_tasks"], found["state"]) == ("w1", 1, "silent")
    assert found["last_heartbeat"] is None
    assert found["started_at"] is None
    assert found["pid"] is None


def test_the_overview_has_a_line_for_each_queue_with_jobs_a_worker_or_a_pause(store):
    store.enqueue([NewJob("a", "{}", queue="jobs"), NewJob("b", "{}", queue="jobs")])
    store.claim("w9", ["jobs"], 1, 30)
    store.beat(worker(store, queues=("served",)), [], 30)
    store.pause("stopped")

    overview = {line["queue"]: line for line in monitoring.get_queue_overview()}

    assert list(overview) == ["jobs", "served", "stopped"]
    jobs = overview["jobs"]
    assert (jobs["pending"], jobs["running"], jobs["done"], jobs["workers"]) == (1, 1, 0, 0)
    assert 0 <= jobs["oldest_wait"] < 60
    assert (overview["served"]["workers"], overview["served"]["oldest_wait"]) == (1, None)
    assert times.instant(overview["stopped"]["paused_at"]) > 0
    assert jobs["paused_at"] is None


def test_details_hold_the_history_of_a_job(store):
    [id] = store.enqueue([NewJob("a", '{"args": [1]}')])
    [job] = store.claim("w1", ["default"], 1, 30)
    from liteq import lifecycle
    from liteq.job import Outcome

    outcome = Outcome(
        job.receipt, "failed", 1.0, 2.0, error="ValueError: x", traceback="Traceback …"
    )
    store.finish([lifecycle.settled(job, outcome, wait=10, now=store.clock.wall())])

    details = monitoring.get_task_details(id)

    assert details["status"] == "pending"
    assert details["payload"] == '{"args": [1]}'
    assert details["history"] == [
        {
            "attempt": 1,
            "ending": "failed",
            "worker_id": "w1",
            "started_at": "1970-01-01T00:00:01.000000Z",
            "finished_at": "1970-01-01T00:00:02.000000Z",
            "error": "ValueError: x",
            "traceback": "Traceback …",
        }
    ]


def test_there_are_no_details_of_an_unknown_job(store):
    assert monitoring.get_task_details(99) is None


def test_tasks_are_found_by_a_filter(store):
    store.enqueue([NewJob("a", "{}"), NewJob("b", "{}"), NewJob("a", "{}")])

    assert [task["id"] for task in monitoring.find_tasks(Filter(name="a"), 10)] == [3, 1]


@pytest.mark.parametrize(
    ("which", "count"),
    [
        (Filter(), 5),
        (Filter(queue="q"), 2),
        (Filter(status="running"), 1),
        (Filter(queue="q", status="failed"), 0),
        (Filter(name="a"), 2),  # not told by the counts: stops at `enough`
    ],
)
def test_how_many_counts_exactly_where_counts_can_tell(store, which, count):
    store.enqueue([NewJob("a", "{}")] * 3 + [NewJob("b", "{}", queue="q")] * 2)
    store.claim("w1", ["q"], 1, 30)

    assert monitoring.how_many(which, enough=2) == count
