"""Laravel's tables of failed jobs and of batches, on SQLite, PostgreSQL and MariaDB."""

import json
import logging
from contextlib import closing

import databases
import pytest

from liteq.brokers.laravel.connection import connector
from liteq.brokers.laravel.database import DatabaseDriver
from liteq.brokers.laravel.ledger import DatabaseLedger
from liteq.errors import BrokerError, BrokerUnavailable

NOW = 1_800_000_000.75
AT = "2027-01-15 08:00:00"
BATCH = "9a5c3f0e-0000-4000-8000-000000000001"
ALLOWS = 'a:2:{s:13:"allowFailures";b:1;s:4:"then";a:0:{}}'
PLAIN = "a:0:{}"


@pytest.fixture(params=databases.KINDS)
def database(request, tmp_path):
    return databases.fresh(request.param, request, tmp_path)


@pytest.fixture
def ledger(database):
    with closing(DatabaseLedger(database.connect, database.dialect, clock=lambda: NOW)) as ledger:
        yield ledger


@pytest.fixture
def laravel_here(database, laravel, need):
    return database.for_laravel(laravel, need)


def start_batch(database, jobs=2, options=PLAIN, ids="[]"):
    database.run(
        "INSERT INTO job_batches (id, name, total_jobs, pending_jobs, failed_jobs, failed_job_ids, "
        "options, created_at) VALUES (?, 'b', ?, ?, 0, ?, ?, 5)",
        *(BATCH, jobs, jobs, ids, options),
    )


def batch(database):
    """(pending, failed, failed uuids, cancelled_at, finished_at)"""
    [(*counts, ids, cancelled, finished)] = database.run(
        "SELECT pending_jobs, failed_jobs, failed_job_ids, cancelled_at, finished_at "
        "FROM job_batches"
    )
    return (*counts, json.loads(ids), cancelled, finished)


# Failed jobs


def test_a_failed_payload_is_on_record_as_laravel_writes_it(database, ledger):
    ledger.failed("u-1", "redis", "mail", '{"uuid": "u-1", "a": "é🎉"}', "RuntimeError: böse\n  at")

    [row] = database.run("SELECT uuid, connection, queue, payload, exception FROM failed_jobs")
    assert row == (
        "u-1",
        "redis",
        "mail",
        '{"uuid": "u-1", "a": "é🎉"}',
        "RuntimeError: böse\n  at",
    )
    [(at,)] = database.run("SELECT failed_at FROM failed_jobs")
    assert str(at) == AT


def test_a_uuid_is_on_record_once_with_its_first_fault(database, ledger):
    ledger.failed("u-1", "redis", "default", "{}", "first")
    ledger.failed("u-1", "redis", "default", "{}", "second")
    ledger.failed("u-2", "redis", "default", "{}", "third")

    assert database.run("SELECT uuid, exception FROM failed_jobs ORDER BY id") == [
        ("u-1", "first"),
        ("u-2", "third"),
    ]


def test_texts_that_no_database_takes_are_written_visibly(database, ledger):
    ledger.failed("u-1", "redis", "default", "a\0b", "bad \0 and \udcff")

    assert database.run("SELECT payload, exception FROM failed_jobs") == [
        ("a\\0b", "bad \\0 and \\udcff")
    ]


def test_the_old_table_has_no_uuids(database):
    ledger = DatabaseLedger(
        database.connect, database.dialect, "old_failed_jobs", failed_driver="database"
    )

    ledger.failed("u-1", "redis", "default", "{}", "first")

    assert database.run("SELECT queue, exception FROM old_failed_jobs") == [("default", "first")]
    ledger.close()


def test_other_drivers_of_failed_jobs_are_refused():
    with pytest.raises(ValueError, match="dynamodb"):
        DatabaseLedger(lambda: None, "sqlite", failed_driver="dynamodb")


def test_a_missing_table_tells_how_to_make_it(database, ledger):
    database.run("DROP TABLE failed_jobs")
    database.run("DROP TABLE job_batches")

    with pytest.raises(BrokerError, match=r"failed_jobs.*make:queue-failed-table"):
        ledger.failed("u-1", "redis", "default", "{}", "fault")
    with pytest.raises(BrokerError, match=r"job_batches.*make:queue-batches-table"):
        ledger.batch_cancelled(BATCH)


def test_a_ledger_that_is_not_there_is_told(tmp_path):
    ledger = DatabaseLedger(*connector(f"sqlite:///{tmp_path}/none.sqlite"))

    with pytest.raises(BrokerUnavailable, match="no such file"):
        ledger.failed("u-1", "redis", "default", "{}", "fault")


# Batches


def test_a_batch_is_finished_by_its_last_job(database, ledger):
    start_batch(database, jobs=2)

    assert ledger.batch_succeeded(BATCH, "u-1", 10) is False
    assert batch(database) == (1, 0, [], None, None)
    assert ledger.batch_succeeded(BATCH, "u-2", 20) is True
    assert batch(database) == (0, 0, [], None, 20)


def test_the_first_failure_cancels_a_batch(database, ledger):
    start_batch(database)
    assert not ledger.batch_cancelled(BATCH)

    ledger.batch_failed(BATCH, "u-1", 10)
    assert batch(database) == (2, 1, ["u-1"], 10, 10)
    assert ledger.batch_cancelled(BATCH)

    ledger.batch_failed(BATCH, "u-2", 20)
    assert batch(database) == (2, 2, ["u-1", "u-2"], 10, 10)


def test_a_job_that_succeeds_after_all_is_no_longer_among_the_failed(database, ledger):
    start_batch(database, jobs=1, options=ALLOWS)
    ledger.batch_failed(BATCH, "u-1", 10)
    ledger.batch_failed(BATCH, "u-1", 11)
    assert batch(database) == (1, 2, ["u-1"], None, None)

    assert ledger.batch_succeeded(BATCH, "u-1", 20) is True
    assert batch(database) == (0, 2, [], None, 20)


@pytest.mark.parametrize(
    ("options", "cancels"),
    [
        (ALLOWS, False),
        ("YToxOntzOjEzOiJhbGxvd0ZhaWx1cmVzIjtiOjE7fQ==", False),  # as on PostgreSQL
        ('a:1:{s:13:"allowFailures";b:0;}', True),
        ('a:1:{s:13:"allowFailures";i:1;}', True),
        ('a:1:{s:4:"then";s:25:"s:13:"allowFailures";b:1;";}', True),
        ("a:0:{}", True),
        ("", True),
        (None, True),
        ("N;", True),
    ],
)
def test_only_a_batch_that_says_so_allows_failures(database, ledger, options, cancels):
    start_batch(database, options=options)

    ledger.batch_failed(BATCH, "u-1", 10)

    assert ledger.batch_cancelled(BATCH) is cancels


@pytest.mark.parametrize("options", ["a:1:{broken", "%%%", "abcde"])
def test_options_that_cannot_be_read_are_told_and_allow_nothing(database, ledger, options, caplog):
    start_batch(database, options=options)

    with caplog.at_level(logging.WARNING):
        ledger.batch_failed(BATCH, "u-1", 10)

    assert batch(database) == (2, 1, ["u-1"], 10, 10)
    assert BATCH in caplog.text


def test_a_list_of_failed_jobs_with_gaps_is_read(database, ledger):
    start_batch(database, options=ALLOWS, ids='{"0": "u-1", "2": "u-3"}')

    ledger.batch_failed(BATCH, "u-4", 10)

    assert batch(database)[2] == ["u-1", "u-3", "u-4"]


def test_a_batch_that_is_gone_counts_as_cancelled(ledger):
    assert ledger.batch_cancelled(BATCH)
    assert ledger.batch_succeeded(BATCH, "u-1", 10) is False
    ledger.batch_failed(BATCH, "u-1", 10)


# With Laravel


def test_laravel_retries_what_is_on_record(database, ledger, laravel_here):
    laravel_here.dispatch("job", "Plain", "again", QUEUE="mail")
    with closing(DatabaseDriver(database.connect, database.dialect)) as driver:
        now = 2_000_000_000
        [delivery] = driver.pop("mail", 1, now, now + 90).deliveries
        driver.clear("mail")
    uuid = json.loads(delivery.body)["uuid"]
    ledger.failed(uuid, "database", "mail", delivery.body, "RuntimeError: no\n#0 x.py")

    assert laravel_here.ask.failed()[0]["failed_at"] == AT
    laravel_here.artisan("queue:retry", uuid)
    events = laravel_here.work("stop-when-empty", "mail")

    assert [each["got"] for each in events if each["event"] == "handled"] == [{"+name": "again"}]
    assert laravel_here.ask.failed() == []


def test_laravel_sees_what_we_count_of_its_batches(ledger, laravel_here):
    id = laravel_here.dispatch("batch", "InBatch", "InBatch", "InBatch")["batch"]

    ledger.batch_succeeded(id, "u-1", 10)
    state = laravel_here.ask.batch(id)
    assert (state["pendingJobs"], state["failedJobs"], state["cancelledAt"]) == (2, 0, None)
    ledger.batch_failed(id, "u-2", 1_800_000_000)
    state = laravel_here.ask.batch(id)

    assert (state["pendingJobs"], state["failedJobs"]) == (2, 1)
    assert state["cancelledAt"].startswith("2027-01-15T08:00:00")
    told = [each["event"] for each in laravel_here.work()]
    assert told.count("skipped") == 3  # Laravel's jobs see that it was cancelled


def test_a_batch_of_laravels_that_allows_failures_goes_on(ledger, laravel_here):
    id = laravel_here.dispatch("batch", "InBatch", "BadInBatch", ALLOW_FAILURES=1)["batch"]

    ledger.batch_failed(id, "u-1", 10)

    assert not ledger.batch_cancelled(id)


def test_laravel_and_we_finish_a_batch_together(database, ledger, laravel_here):
    id = laravel_here.dispatch("batch", "InBatch", "InBatch")["batch"]
    laravel_here.work("once")

    assert ledger.batch_succeeded(id, "u-1", 1_800_000_000) is True
    assert laravel_here.ask.batch(id)["finishedAt"].startswith("2027-01-15T08:00:00")
