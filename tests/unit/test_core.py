"""Core: what the decorator takes and refuses, and what a call becomes in the store."""

import asyncio
import sqlite3
from datetime import datetime, timedelta, timezone

import pytest

from liteq import (
    BrokerError,
    JobId,
    JobNotFound,
    PayloadTooLarge,
    RetryPolicy,
    TaskCancelled,
    TaskFailed,
    aenqueue,
    brokers,
    enqueue,
    get_task_status,
    registry,
    task,
)
from liteq.db import get_conn
from liteq.job import Filter
from liteq.testing import run_due
from liteq.times import instant


@pytest.fixture(autouse=True)
def names():
    """Forget the tasks that a test defines."""
    before = {definition.name for definition in registry.definitions()}
    yield
    for definition in registry.definitions():
        if definition.name not in before:
            registry.forget(definition.name)


@pytest.fixture
def double(liteq_db):
    @task(name="core_double", queue="sums", priority=2, max_retries=1, timeout=9)
    def double(number: int) -> int:
        """Twice the number."""
        return number * 2

    return double


def stored(id):
    status = get_task_status(id)
    return tuple(status[key] for key in ("queue", "priority", "max_retries", "timeout"))


def test_a_task_is_still_its_function(double):
    assert double(4) == 8
    assert (double.__name__, double.__doc__) == ("double", "Twice the number.")
    assert double.name == "core_double"
    assert repr(double) == "<task core_double on queue sums>"


def test_a_call_takes_the_options_of_its_task(double):
    assert stored(double.delay(4)) == ("sums", 2, 1, 9)


def test_options_are_for_one_call(double):
    fast = double.options(queue="fast", priority=-1, max_retries=0, timeout=0.5)

    assert stored(fast.delay(4)) == ("fast", -1, 0, 0.5)
    assert stored(double.delay(4)) == ("sums", 2, 1, 9)


@pytest.mark.parametrize("delay", [3600, timedelta(hours=1)])
def test_a_delay_counts_from_the_call(double, delay):
    before = datetime.now(timezone.utc).timestamp()

    id = double.options(delay=delay).delay(4)

    assert 3599 < instant(get_task_status(id)["run_at"]) - before < 3660
    job = double.options(delay=delay).job(4)
    assert 3599 < job.due - before < 3660


def test_schedule_takes_a_moment_in_each_of_its_forms(double):
    moment = datetime(2040, 1, 31, 9, tzinfo=timezone.utc)

    ids = [double.schedule(each, 4) for each in (moment, "2040-01-31T09:00:00Z")]
    ids.append(asyncio.run(double.aschedule(moment, 4)))

    stamps = {get_task_status(id)["run_at"] for id in ids}
    assert stamps == {"2040-01-31T09:00:00.000000Z"}


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"queue": ""}, "queue='' must be a name"),
        ({"queue": "a,b"}, "queue='a,b' must be a name without a comma"),
        ({"max_retries": -1}, "max_retries=-1 must be 0 or more"),
        ({"priority": 2**63}, "priority=9223372036854775808 must be a whole number"),
        ({"timeout": 0}, "timeout=0 must be more than 0"),
        ({"timeout": float("nan")}, "timeout=nan must be more than 0"),
    ],
)
def test_options_that_make_no_sense_are_refused_where_they_stand(double, options, complaint):
    with pytest.raises(ValueError, match=complaint):
        double.options(**options)
    with pytest.raises(ValueError, match=complaint):
        task(name="core_never", **options)(lambda: None)


def test_a_delay_into_the_past_is_refused(double):
    with pytest.raises(ValueError, match="delay=-1 must be 0 or more seconds"):
        double.options(delay=-1)


def test_only_plain_functions_become_tasks(double):
    for odd in (double, "text"):
        with pytest.raises(ValueError, match="@task needs a plain function"):
            task()(odd)


def test_acks_are_early_or_late(liteq_db):
    with pytest.raises(ValueError, match="acks='never': use 'late'"):
        task(acks="never")(lambda: None)


def test_many_calls_are_stored_in_order_or_not_at_all(double, monkeypatch):
    ids = enqueue(double.job(n) for n in range(250))
    later = asyncio.run(aenqueue([double.options(queue="other").job(n) for n in (1, 2)]))

    assert [get_task_status(id)["payload"] for id in (ids[0], ids[-1])] == [
        '{"args": [0], "kwargs": {}}',
        '{"args": [249], "kwargs": {}}',
    ]
    assert ids == sorted(ids)
    assert [get_task_status(id)["queue"] for id in later] == ["other"] * 2
    assert enqueue([]) == []


def test_a_call_in_a_batch_is_held_to_the_limit_too(liteq_db):
    @task(name="core_long")
    def long(text: str) -> None: ...

    limit = brokers.current().payload_limit

    with pytest.raises(PayloadTooLarge, match=r"task 'core_long' would take \d+ bytes"):
        enqueue([long.job("short"), long.job("x" * limit)])
    assert brokers.current().count() == []


def test_a_commit_keeps_the_job_and_a_rollback_drops_it(double):
    with get_conn() as connection:
        connection.execute("CREATE TABLE orders (id INTEGER)")
        connection.execute("INSERT INTO orders VALUES (1)")
        kept = double.using(connection).delay(1)
        more = enqueue([double.job(2), double.job(3)], using=connection)

    with pytest.raises(ZeroDivisionError), get_conn() as connection:
        connection.execute("INSERT INTO orders VALUES (2)")
        dropped = double.using(connection).delay(4)
        raise ZeroDivisionError

    assert [id.status() for id in (kept, *more)] == ["pending"] * 3
    assert dropped.status() is None
    assert get_conn().execute("SELECT id FROM orders").fetchall()[0]["id"] == 1


def test_a_transaction_on_another_file_is_refused(double, tmp_path):
    other = sqlite3.connect(tmp_path / "other.db")

    with pytest.raises(BrokerError, match=r"other\.db.*one transaction can only span one file"):
        double.using(other).delay(1)
    with pytest.raises(BrokerError, match="a database in memory"):
        double.using(sqlite3.connect(":memory:")).delay(1)
    other.close()


def test_a_broker_without_transactions_says_so(double, monkeypatch):
    monkeypatch.setenv("LITEQ_URL", "memory://core")

    with pytest.raises(BrokerError, match="memory://core cannot take part in a transaction"):
        double.using(sqlite3.connect(":memory:")).delay(1)


def test_the_id_tells_how_the_job_ended(double):
    @task(name="core_fail", max_retries=0, retry=RetryPolicy("fixed", first=0))
    def fail() -> None:
        raise LookupError("no such thing")

    good, bad, gone = double.delay(21), fail.delay(), double.delay(1)
    assert gone.cancel()
    run_due()

    assert (good.status(), good.result(timeout=0)) == ("done", 42)
    assert asyncio.run(good.aresult(timeout=0)) == 42
    with pytest.raises(TaskFailed, match="LookupError: no such thing"):
        bad.result()
    with pytest.raises(TaskCancelled):
        gone.result()
    assert not gone.cancel()


def test_waiting_for_a_result_ends_with_a_hint(double):
    id = double.delay(1)

    with pytest.raises(TimeoutError, match=r"job 1 is pending after 0\.05 seconds.*liteq doctor"):
        id.result(timeout=0.05)
    with pytest.raises(TimeoutError, match="pending"):
        asyncio.run(id.aresult(timeout=0.05))


def test_an_id_of_nobody_has_no_result(double):
    with pytest.raises(JobNotFound, match="there is no job 77"):
        JobId(77).result()
    assert get_task_status(77) is None


def test_the_result_of_a_task_that_is_not_imported_is_plain_data(double):
    id = double.delay(21)
    run_due()
    registry.forget("core_double")

    assert id.result() == 42


def test_awaiting_verbs_store_as_the_others_do(double):
    async def queue():
        return await asyncio.gather(*(double.adelay(n) for n in range(20)))

    ids = asyncio.run(queue())

    assert len(set(ids)) == 20
    assert len(brokers.current().find(Filter(name="core_double"), 99)) == 20
