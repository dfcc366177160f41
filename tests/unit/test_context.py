"""The context: what a running task may ask about its own job."""

import asyncio
import logging
import threading
import time

import pytest

from liteq.context import Running, context, running


@pytest.fixture
def job():
    facts = Running(id=7, name="add", queue="fast", attempt=2, max_retries=3, deadline=None)
    token = running.set(facts)
    yield facts
    running.reset(token)


def test_running_task_knows_its_job(job):
    assert (context.id, context.name, context.queue) == (7, "add", "fast")
    assert (context.attempt, context.max_retries) == (2, 3)


@pytest.mark.parametrize(
    "name",
    ["id", "name", "queue", "attempt", "max_retries", "deadline", "remaining", "logger"],
)
def test_outside_of_a_task_there_is_nothing_to_know(name):
    with pytest.raises(RuntimeError, match="only known inside a running task"):
        getattr(context, name)


def test_context_is_true_inside_of_a_task_only(job):
    seen = []
    outside = threading.Thread(target=lambda: seen.append(bool(context)))
    outside.start()
    outside.join()

    assert bool(context)
    assert seen == [False]


def test_task_without_a_time_limit_has_no_deadline(job):
    assert context.deadline is None
    assert context.remaining is None


def test_remaining_time_counts_down_to_nothing(job):
    running.set(job._replace(deadline=time.time() + 60))
    assert 59 < context.remaining <= 60

    running.set(job._replace(deadline=time.time() - 60))
    assert context.remaining == 0


def test_each_coroutine_knows_its_own_job(job):
    async def work(id):
        running.set(job._replace(id=id))
        await asyncio.sleep(0)
        return context.id

    async def both():
        return await asyncio.gather(work(1), work(2))

    assert asyncio.run(both()) == [1, 2]
    assert context.id == 7


def test_log_records_carry_the_job(job, caplog):
    with caplog.at_level(logging.INFO, logger="liteq.task.add"):
        context.logger.info("sum is %d", 5)

    [record] = caplog.records
    assert (record.name, record.getMessage()) == ("liteq.task.add", "sum is 5")
    assert (record.job, record.attempt, record.queue) == (7, 2, "fast")


def test_own_extra_fields_of_a_log_record_are_kept(job, caplog):
    with caplog.at_level(logging.INFO, logger="liteq.task.add"):
        context.logger.info("charged", extra={"customer": 9})

    [record] = caplog.records
    assert (record.job, record.customer) == (7, 9)
