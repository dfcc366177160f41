"""Many at one queue, PHP among them: each job once, no more taken than can run, and for as long as
it takes."""

import os
import signal
import time

import artisan
import pytest
from consumers import KINDS, Crew, memory_mb, wait_for

JOBS = 2000
MANY = 1500  # beyond the depth that Python lets calls nest to


@pytest.fixture
def crew(laravel, redis_server):
    crew = Crew(laravel, redis_server)
    yield crew
    crew.close()


@pytest.mark.parametrize("driver", ["redis", "mysql", "pgsql"])
def test_php_and_python_share_a_queue_and_handle_each_job_once(crew, driver, request, need):
    laravel, jobs = crew.laravel, JOBS if driver == "redis" else JOBS // 2
    if driver != "redis":
        need(f"pdo_{driver}" in artisan.extensions(), f"PHP's pdo_{driver}")
        name = {"mysql": "mariadb_server", "pgsql": "postgres_server"}[driver]
        crew.use(request.getfixturevalue(name))
        driver = "database"
    laravel.env |= {"QUEUE_CONNECTION": driver, "QUIET": 1}
    consumers = [crew.start(kind, driver=driver).listening() for kind in KINDS]
    php = laravel.start_worker()

    laravel.dispatch("many", "Counted", jobs // 2)
    crew.push(range(jobs // 2, jobs), driver=driver)
    crew.handled(range(jobs), seconds=60)
    try:
        crew.drained(driver=driver)
    except AssertionError:
        print(php.log()[-3000:])
        print(crew.counts(driver=driver))
        print([c.log()[-1500:] for c in consumers])
        raise

    assert php.stop() == 0
    assert [consumer.stop()[0] for consumer in consumers] == [0, 0, 0]
    assert crew.runs() == dict.fromkeys(range(jobs), 1)
    assert {side for _, side, _, _ in laravel.counted()} == {"php", "py"}
    assert {attempt for *_, attempt in laravel.counted()} == {1}
    assert laravel.ask.rows("failed_jobs") == []
    for consumer in consumers:
        assert consumer.troubles() == []
        assert "refused" not in consumer.log()


def test_on_sqlite_a_job_comes_again_only_if_php_could_not_delete_it(crew):
    """PHP's transactions begin as readers; SQLite refuses them the lock when another has it."""
    laravel = crew.laravel
    laravel.env |= {"QUEUE_CONNECTION": "database", "QUIET": 1, "RETRY_AFTER": 3}
    consumers = [crew.start(kind, driver="database", retry_after=3).listening() for kind in KINDS]
    php = laravel.start_worker()

    laravel.dispatch("many", "Counted", JOBS // 2)
    crew.push(range(JOBS // 2, JOBS), driver="database", max_tries=0)
    crew.handled(range(JOBS), seconds=60)
    crew.drained(driver="database")

    assert php.stop() == 0
    assert [consumer.stop()[0] for consumer in consumers] == [0, 0, 0]
    runs = {}
    for id, side, *_ in laravel.counted():
        runs.setdefault(id, []).append(side)
    assert runs.keys() == set(range(JOBS))
    assert {side for sides in runs.values() for side in sides[:-1]} <= {"php"}
    assert sum(len(sides) - 1 for sides in runs.values()) <= php.log().count("SQL: delete from")
    assert laravel.ask.rows("failed_jobs") == []
    for consumer in consumers:
        assert consumer.troubles() == []
        assert "refused" not in consumer.log()


@pytest.mark.parametrize(
    ("kind", "concurrency", "most"),
    [("queue", 2, 1), ("aqueue", 3, 3), ("processes", 2, 2), ("liteq", 2, 2)],
)
def test_no_more_is_taken_than_can_run(crew, kind, concurrency, most):
    crew.push(range(12), milliseconds=150)
    consumer = crew.start(kind, concurrency=concurrency)

    reserved = []
    wait_for(lambda: reserved.append(crew.counts()[2]) or len(crew.runs()) == 12, "all 12")

    assert max(reserved) == most
    assert consumer.stop()[0] == 0


@pytest.mark.parametrize("kind", ["queue", "aqueue"])
def test_many_jobs_in_a_run_need_no_more_memory(crew, kind):
    consumer = crew.start(kind, concurrency=10).listening()
    crew.push(range(500))
    crew.handled(range(500))
    before = memory_mb(consumer.pid)

    crew.push(range(500, 500 + MANY))
    crew.handled(range(500 + MANY))

    assert memory_mb(consumer.pid) < before + 5
    assert consumer.stop()[0] == 0
    assert consumer.troubles() == []


def test_long_jobs_stay_with_who_runs_them(crew):
    crew.laravel.env |= {"RETRY_AFTER": 2, "QUIET": 1}
    cast = {1: "queue", 2: "queue", 3: "aqueue", 4: "processes", 5: "liteq"}
    consumers = []
    for number, kind in cast.items():
        queue, env = f"q{number}", {"BURN": "1"} if number == 2 else {}
        crew.push([number], milliseconds=5000, queue=queue, max_tries=1)
        consumers.append(crew.start(kind, queue, retry_after=2, env=env))
    crew.has_begun(*cast)

    php = crew.laravel.start_worker(",".join(f"q{number}" for number in cast))
    crew.handled(cast)
    for number in cast:
        crew.drained(f"q{number}")

    assert php.stop() == 0
    assert [consumer.stop()[0] for consumer in consumers] == [0] * 5
    sides = [(id, side, attempt) for id, side, _, attempt in crew.laravel.counted()]
    assert sorted(sides) == [(number, "py", 1) for number in cast]
    assert crew.laravel.ask.rows("failed_jobs") == []
    assert not [each for each in consumers if "lost" in each.log() or "refused" in each.log()]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", ["well", "with an error"])
def test_who_was_frozen_past_its_reservation_changes_nothing(crew, kind, end):
    crew.laravel.env |= {"RETRY_AFTER": 2, "QUIET": 1}
    crew.push([1], milliseconds=900, max_tries=0)
    consumer = crew.start(kind, retry_after=2, env={"FAIL": "1"} if end != "well" else {})
    crew.has_begun(1)
    for pid in consumer.tree():
        os.kill(pid, signal.SIGSTOP)
    php = crew.laravel.start_worker()
    crew.handled([1])
    crew.drained()

    for pid in consumer.tree():
        os.kill(pid, signal.SIGCONT)
    wait_for(lambda: "no longer ours" in consumer.log() or "lost" in consumer.log(), "a refusal")
    time.sleep(0.5)  # for a copy of the job, which must not come

    assert php.stop() == 0
    assert consumer.stop()[0] == 0
    assert crew.counts() == (0, 0, 0)
    assert [side for _, side, _, _ in crew.laravel.counted()].count("php") == 1
    assert crew.laravel.ask.rows("failed_jobs") == []
