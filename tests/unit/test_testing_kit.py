"""Promises of `liteq.testing`: jobs without a worker."""

import asyncio
import threading
from datetime import datetime, timedelta, timezone

import pytest

from liteq import (
    Cancel,
    Retry,
    RetryPolicy,
    TaskFailed,
    brokers,
    context,
    enqueue,
    get_task_status,
    registry,
    task,
)
from liteq.brokers import connect
from liteq.job import Filter
from liteq.testing import inline, run_due, travel

HOUR = timedelta(hours=1)
ran_where: list[str] = []


@pytest.fixture(params=["sqlite", "memory"], autouse=True)
def queue(request, tmp_path, monkeypatch):
    """Each test has a store of its own, of either kind; both kinds must do."""
    if request.param == "memory":
        monkeypatch.setenv("LITEQ_URL", f"memory://{tmp_path}")
    else:
        request.getfixturevalue("liteq_db")
    return brokers.current()


@pytest.fixture(autouse=True, scope="module")
def tasks():
    """The tasks of this module, known while its tests run."""
    global add, boom, flaky, parent, later, aparent, aadd
    known = {definition.name for definition in registry.definitions()}

    @task(name="kit.add")
    def add(a: int, b: int) -> int:
        ran_where.append(threading.current_thread().name)
        return a + b

    @task(name="kit.boom", max_retries=0)
    def boom() -> None:
        raise KeyError("ghost")

    @task(name="kit.flaky", max_retries=2, retry=RetryPolicy("fixed", 10))
    def flaky(good_from: int) -> int:
        if context.attempt < good_from:
            raise ValueError(f"attempt {context.attempt}")
        return context.attempt

    @task(name="kit.parent", queue="parents")
    def parent(n: int) -> int:
        return int(add.delay(n, n))

    @task(name="kit.later")
    def later(at: datetime) -> datetime:
        return at

    @task(name="kit.aadd")
    async def aadd(a: int, b: int) -> int:
        await asyncio.sleep(0)
        return a + b

    @task(name="kit.aparent")
    async def aparent(n: int) -> str | None:
        child = await aadd.adelay(n, n)
        return child.status()

    yield
    for definition in registry.definitions():
        if definition.name not in known:
            registry.forget(definition.name)


def test_run_due_runs_what_is_due_and_tells_all_of_it(queue):
    id = add.delay(2, 3)

    [ran] = run_due()

    assert ran == (id, "kit.add", "default", 1, "done", "done", 5, None, None, None)
    assert ran.id.status() == "done"
    assert id.result(timeout=0) == 5


def test_run_due_runs_in_this_thread():
    ran_where.clear()
    add.delay(1, 1)

    run_due()

    assert ran_where == [threading.current_thread().name]


def test_nothing_due_is_nothing_run():
    assert run_due() == []


def test_results_come_rebuilt_by_the_annotation():
    moment = datetime(2026, 1, 31, 9, tzinfo=timezone.utc)
    later.delay(moment)

    assert run_due()[0].result == moment


def test_an_async_task_runs():
    aadd.delay(2, 2)

    assert run_due()[0].result == 4


def test_run_due_goes_by_priority_over_all_queues():
    add.delay(1, 1)
    add.options(priority=5, queue="other").delay(2, 2)

    assert [ran.result for ran in run_due()] == [4, 2]


def test_run_due_can_be_told_queues_and_a_limit():
    for n in range(3):
        add.delay(n, n)
    add.options(queue="other").delay(9, 9)

    assert [ran.result for ran in run_due(queues=["other"])] == [18]
    assert [ran.result for ran in run_due(limit=2)] == [0, 2]
    assert run_due(limit=0) == []
    assert [ran.result for ran in run_due()] == [4]


def test_run_due_can_be_told_the_store(tmp_path, queue):
    (tmp_path / "elsewhere").mkdir()
    other = connect(f"sqlite:///{tmp_path}/elsewhere/q.db")
    other.enqueue([add.job(1, 2)])

    assert run_due() == []
    assert [ran.result for ran in run_due(url=other.url)] == [3]
    other.close()


def test_a_paused_queue_stays_paused(queue):
    queue.pause("default")
    add.delay(1, 1)

    assert run_due() == []


@pytest.mark.parametrize(
    "told",
    [
        lambda moment: HOUR,
        lambda moment: moment,
        lambda moment: moment.isoformat(),
    ],
    ids=["timedelta", "datetime", "text"],
)
def test_run_due_at_a_given_moment(told):
    now = told(datetime.now(timezone.utc) + HOUR)
    add.schedule(timedelta(minutes=59), 1, 1)
    add.schedule(timedelta(minutes=90), 2, 2)

    assert run_due() == []
    assert [ran.result for ran in run_due(now)] == [2]


def test_after_run_due_it_is_the_present_again():
    run_due(HOUR)
    add.schedule(timedelta(minutes=59), 1, 1)

    assert run_due() == []


def test_times_are_told_by_the_moment_given(queue):
    add.delay(1, 1)
    moment = datetime(2040, 1, 1, 12, tzinfo=timezone.utc)

    [ran] = run_due(moment)

    record = queue.get(ran.id)
    assert record.started_at.startswith("2040-01-01T12:00")
    assert record.finished_at.startswith("2040-01-01T12:00")


def test_a_failure_is_told_and_stored():
    id = boom.delay()

    [ran] = run_due()

    assert (ran.ending, ran.status, ran.result) == ("failed", "failed", None)
    assert ran.error == "KeyError: 'ghost'"
    assert "in boom" in ran.traceback
    with pytest.raises(TaskFailed, match="ghost"):
        id.result(timeout=0)


def test_a_retry_waits_for_its_time():
    flaky.delay(2)

    [first] = run_due()
    assert (first.status, first.ending, first.attempt) == ("pending", "failed", 1)
    assert first.run_at is not None

    assert run_due() == []
    [second] = run_due(timedelta(seconds=11))
    assert (second.status, second.result) == ("done", 2)


def test_each_job_runs_once_a_call_unless_retries_are_asked_for():
    @task(name="kit.again", max_retries=2)
    def again() -> None:
        raise Retry("not yet", after=0)

    again.delay()

    assert [ran.ending for ran in run_due()] == ["retry"]
    assert [ran.status for ran in run_due(retries=True)] == ["pending", "failed"]


def test_with_retries_the_limit_still_holds():
    @task(name="kit.forever")
    def forever() -> None:
        forever.delay()

    forever.delay()

    assert len(run_due(retries=True, limit=7)) == 7


def test_jobs_that_tasks_queue_run_next_time_or_with_retries_at_once():
    parent.delay(4)
    assert [ran.name for ran in run_due()] == ["kit.parent"]
    assert [ran.name for ran in run_due()] == ["kit.add"]

    parent.delay(4)
    assert [ran.name for ran in run_due(retries=True)] == ["kit.parent", "kit.add"]


def test_a_wait_by_the_users_own_function_is_kept():
    @task(name="kit.custom", retry=RetryPolicy(lambda _: 77.0, jitter=0))
    def custom() -> None:
        raise ValueError("no")

    custom.delay()
    run_due()

    assert run_due(timedelta(seconds=70)) == []
    assert len(run_due(timedelta(seconds=78))) == 1


def test_a_task_can_cancel_itself():
    @task(name="kit.quits")
    def quits() -> None:
        raise Cancel("enough")

    quits.delay()

    assert [(ran.ending, ran.status) for ran in run_due()] == [("cancelled", "cancelled")]


def test_a_job_cancelled_by_one_that_ran_before_does_not_run(queue):
    @task(name="kit.cancels", priority=1)
    def cancels() -> None:
        brokers.current().cancel(Filter(name="kit.add"))

    cancels.delay()
    id = add.delay(1, 1)

    assert [ran.ending for ran in run_due()] == ["done", "cancelled"]
    assert id.status() == "cancelled"


def test_an_unknown_task_is_a_failed_attempt_as_in_a_worker(queue):
    queue.enqueue([add.job(1, 1)._replace(name="kit.unknown")])

    [ran] = run_due()

    assert (ran.status, ran.ending) == ("pending", "failed")
    assert "kit.unknown" in ran.error


def test_run_due_leaves_no_worker_behind(queue):
    add.delay(1, 1)

    run_due()

    assert queue.workers() == []


def test_interrupted_the_rest_goes_back_unharmed(queue, monkeypatch):
    ids = [add.delay(n, n) for n in range(3)]
    cancellations, calls = queue.cancellations, []

    def interrupted(worker):
        calls.append(worker)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return cancellations(worker)

    monkeypatch.setattr(queue, "cancellations", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_due()

    records = [get_task_status(id) for id in ids]
    assert [(r["status"], r["attempts"]) for r in records] == [
        ("done", 1),
        ("pending", 0),
        ("pending", 0),
    ]


def test_inline_a_delayed_call_has_run_when_delay_returns():
    with inline():
        id = add.delay(2, 3)
        assert id.result(timeout=0) == 5

    assert add.delay(1, 1).status() == "pending"


def test_inline_runs_exactly_the_new_job(queue):
    before = add.options(priority=9).delay(1, 1)

    with inline():
        now = add.delay(2, 2)

    assert (before.status(), now.status()) == ("pending", "done")
    assert get_task_status(before)["attempts"] == 0
    assert queue.workers() == []


def test_inline_runs_a_batch():
    with inline():
        ids = enqueue(add.job(n, n) for n in range(3))

    assert [id.result(timeout=0) for id in ids] == [0, 2, 4]


def test_inline_jobs_of_jobs_run_too():
    with inline():
        id = parent.delay(4)

    assert get_task_status(id.result(timeout=0))["result"] == 8


def test_inline_a_scheduled_call_waits():
    with inline():
        id = add.schedule(HOUR, 1, 1)

    assert id.status() == "pending"
    assert len(run_due(HOUR)) == 1


def test_inline_an_error_is_the_jobs_not_the_callers():
    with inline():
        id = boom.delay()

    assert id.status() == "failed"


def test_inline_can_be_nested():
    with inline():
        with inline():
            assert add.delay(1, 1).status() == "done"
        assert add.delay(1, 1).status() == "done"

    assert add.delay(1, 1).status() == "pending"


def test_inline_awaited_calls_run_too_even_within_each_other():
    async def main():
        outer = await aparent.adelay(3)
        return await outer.aresult(timeout=0)

    with inline():
        assert asyncio.run(main()) == "done"


def test_inline_an_async_task_runs_inside_of_an_event_loop():
    async def main():
        return aadd.delay(1, 2).result(timeout=0)

    with inline():
        assert asyncio.run(main()) == 3


@pytest.mark.parametrize("to", [3600, 3600.0, HOUR, "2050-01-01T00:00:00Z"])
def test_travel_moves_what_is_due(to):
    add.schedule(timedelta(minutes=59), 1, 1)

    with travel(to):
        assert len(run_due()) == 1
        id = add.delay(1, 1)
        assert get_task_status(id)["created_at"] > get_task_status(id - 1)["created_at"]

    assert len(run_due()) == 1


def test_travel_adds_up():
    add.schedule(timedelta(minutes=90), 1, 1)

    with travel(HOUR):
        assert run_due() == []
        with travel(HOUR):
            assert len(run_due()) == 1


def test_time_goes_on_during_travel(queue):
    with travel(HOUR):
        before = queue.clock.wall()
        steady = queue.clock.steady()
        while queue.clock.steady() == steady:
            pass
        assert queue.clock.wall() > before


def test_travel_to_no_time_is_refused():
    with pytest.raises(ValueError, match="whenever"), travel("whenever"):
        pass


def test_travel_and_inline_give_the_store_back_as_it_was(queue):
    clock = queue.clock
    with pytest.raises(RuntimeError), travel(HOUR), inline():
        raise RuntimeError("the test failed")

    assert queue.clock is clock
    assert "enqueue" not in vars(queue)
