"""Laravel alone on its queues: what the other tests are played with works as they take it to."""

import artisan
import pytest


@pytest.fixture(params=["redis", "database"])
def either(laravel, request):
    """A Laravel whose queues are on Redis, then one whose are in a database."""
    laravel.env["QUEUE_CONNECTION"] = request.param
    return laravel


def told(events):
    return [each["event"] for each in events if each["event"] != "started"]


def test_laravel_runs_what_it_dispatches(either):
    either.dispatch("job", "Plain", "hello")

    events = either.work()

    assert told(events) == ["processing", "handled", "processed"]
    assert events[2]["got"] == {"+name": "hello"}
    assert events[3]["attempts"] == 1
    assert told(either.work()) == []


def test_a_failed_job_can_be_retried_with_laravels_command(either):
    either.dispatch("job", "Fails", 1)

    events = either.work()
    [uuid] = {each["uuid"] for each in events if each["event"] == "failed"}
    again = either.artisan("queue:retry", uuid)

    assert told(events) == ["processing", "handled", "told", "failed", "exception"]
    assert "has been pushed back" in again
    assert told(either.work()) == told(events)


def test_a_worker_stops_when_it_is_told_to_restart(either):
    worker = either.start_worker()
    either.dispatch("job", "Plain")
    worker.wait_for("processed")

    either.artisan("queue:restart")

    assert worker.wait() == 0


def test_a_worker_that_is_killed_leaves_its_job_for_the_next(either):
    either.dispatch("job", "Sleeps", 60, 0, 2, RETRY_AFTER=1)
    worker = either.start_worker(RETRY_AFTER=1)
    worker.wait_for("sleeping")
    worker.kill()

    [again] = either.start_worker(RETRY_AFTER=1).wait_for("sleeping")

    assert again["attempts"] == 2


def test_a_timeout_kills_the_worker(either):
    either.dispatch("job", "Sleeps", 60, 1)

    events = either.work(code=-9)

    assert told(events)[:2] == ["processing", "sleeping"]
    assert [row["queue"] for row in either.ask.failed()] == ["default"]


@pytest.mark.parametrize("server", ["postgres_server", "mariadb_server"])
def test_laravel_works_on_other_databases(laravel, server, request, need):
    server = request.getfixturevalue(server)
    need(f"pdo_{server.dialect}" in artisan.extensions(), f"PHP's pdo_{server.dialect}")
    laravel.use(server)
    laravel.dispatch("job", "Plain")
    laravel.dispatch("batch", "InBatch", "InBatch")

    assert laravel.ask.size() == 3
    assert told(laravel.work()).count("handled") == 3
    assert laravel.ask.rows("jobs") == []
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pending_jobs FROM job_batches")
        assert list(cursor.fetchall()) == [(0,)]


def test_many_jobs_are_dispatched_and_counted(either):
    either.dispatch("many", "Counted", 500, 100, QUEUE="many")

    either.work("stop-when-empty", "many", QUIET=1)

    ids = [id for id, side, pid, attempt in either.counted()]
    assert sorted(ids) == list(range(100, 600))


def test_jobs_of_every_kind_end_as_laravel_has_it(either):
    for case in (
        ["job", "Rich"],
        ["job", "Typed"],
        ["job", "Options"],
        ["job", "Secret"],
        ["job", "Unique", 7],
        ["job", "Unique", 7],
        ["job", "UniqueUntilProcessing"],
        ["job", "GivesUp"],
        ["bulk", 2],
        ["chain"],
        ["batch", "InBatch", "BadInBatch"],
        ["closure", "caught"],
        ["string"],
        ["listener", 5],
        ["model"],
    ):
        either.dispatch(*case)

    events = either.work()

    handled = [each["class"].rpartition("\\")[2] for each in events if each["event"] == "handled"]
    assert sorted(handled) == sorted(
        ["Rich", "Typed", "Options", "Secret", "Unique", "UniqueUntilProcessing", "GivesUp"]
        + ["Step"] * 5
        + ["InBatch", "BadInBatch", "Closure", "Report@build", "SendReceipt", "Modelled"]
    )


def test_a_kept_redis_has_after_a_restart_what_it_had(own_redis, own_laravel):
    own_laravel.dispatch("job", "Plain")

    own_redis.kill()
    own_redis.start()

    assert told(own_laravel.work()) == ["processing", "handled", "processed"]


def test_php_answers_questions(php):
    assert php.unserialize(b'a:2:{i:7;d:0.1;s:1:"x";N;}') == {"@array": [[7, 0.1], ["x", None]]}
    assert php.serialize({"@float": "INF"}) == b"d:INF;"
    assert php.decrypt(php.encrypt([1, "é"])) == [1, "é"]
    with pytest.raises(artisan.PHPFault, match="Error at offset 0"):
        php.unserialize(b"i:x;")
