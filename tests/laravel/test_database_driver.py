"""Laravel's database driver, on SQLite, PostgreSQL and MariaDB."""

import json
import os
import re
import select
import sqlite3
import sys
import threading
import time
from contextlib import closing, suppress

import databases
import pytest

from liteq.brokers.laravel.base import Counts, Parcel, Popped, Settlement
from liteq.brokers.laravel.connection import connector
from liteq.brokers.laravel.database import DatabaseDriver
from liteq.errors import (
    BrokerCorrupt,
    BrokerError,
    BrokerFull,
    BrokerReadOnly,
    BrokerUnavailable,
)

NOW = 1_800_000_000
LEASE = 90
UNTIL = NOW + LEASE


@pytest.fixture(params=databases.KINDS)
def database(request, tmp_path):
    return databases.fresh(request.param, request, tmp_path)


@pytest.fixture(params=[kind for kind in databases.KINDS if kind != "sqlite"])
def server(request, tmp_path):
    return databases.fresh(request.param, request, tmp_path)


@pytest.fixture
def sqlite(request, tmp_path):
    return databases.fresh("sqlite", request, tmp_path)


@pytest.fixture
def driver(database):
    yield from _driver(database)


@pytest.fixture
def sqlite_driver(sqlite):
    yield from _driver(sqlite)


@pytest.fixture
def server_driver(server):
    yield from _driver(server)


@pytest.fixture
def other(database):
    """Somebody else's driver on the same table."""
    yield from _driver(database)


def _driver(database):
    with closing(DatabaseDriver(database.connect, database.dialect, clock=lambda: NOW)) as driver:
        yield driver


def parcels(*bodies, queue="default", at=None):
    return [Parcel(queue, str(body), at) for body in bodies]


def bodies(popped):
    return [delivery.body for delivery in popped.deliveries]


def payload(name, **fields):
    return json.dumps({"displayName": name, "job": f"{name}@handle", **fields})


# Pushing


def test_a_pushed_payload_is_a_row_as_laravel_writes_it(database, driver):
    driver.push([Parcel("mail", '{"a": "é🎉"}'), Parcel("default", "{}", NOW + 60)])

    columns = "queue, payload, attempts, reserved_at, available_at, created_at"
    assert database.jobs(columns) == [
        ("mail", '{"a": "é🎉"}', 0, None, NOW, NOW),
        ("default", "{}", 0, None, NOW + 60, NOW),
    ]


def test_many_payloads_keep_their_order(driver):
    driver.push(parcels(*range(1234)))

    assert bodies(driver.pop("default", 2000, NOW, UNTIL)) == [str(n) for n in range(1234)]


def test_large_payloads_are_pushed_in_several_statements_of_one_step(database, driver):
    large = json.dumps("x" * 700_000)

    driver.push(parcels(large, large, large))

    assert bodies(driver.pop("default", 9, NOW, UNTIL)) == [large] * 3


def test_a_push_that_fails_has_pushed_nothing(database, driver):
    with pytest.raises(BrokerError):
        driver.push([*parcels(*range(500)), Parcel(None, "{}")])

    assert database.jobs() == []


def test_nothing_is_pushed_without_a_parcel(driver):
    driver.push([])

    assert driver.counts("default") == Counts(0, 0, 0)


# Popping


def test_pop_reserves_the_oldest_rows_and_counts_an_attempt(database, driver):
    driver.push(parcels("a", "b", "c"))

    popped = driver.pop("default", 2, NOW, UNTIL)

    assert [(each.queue, each.body, each.attempts) for each in popped.deliveries] == [
        ("default", "a", 1),
        ("default", "b", 1),
    ]
    assert database.jobs("attempts, reserved_at") == [(1, NOW), (1, NOW), (0, None)]


def test_pop_takes_nothing_of_other_queues(driver):
    driver.push(parcels("a", queue="mail"))

    assert driver.pop("default", 1, NOW, UNTIL) == Popped([], None)


def test_pop_of_nothing_takes_nothing(driver):
    driver.push(parcels("a"))

    assert driver.pop("default", 0, NOW, UNTIL).deliveries == []


def test_a_delayed_payload_stays_until_it_is_due(driver):
    driver.push(parcels("late", at=NOW + 60))

    assert driver.pop("default", 1, NOW, UNTIL) == Popped([], NOW + 60)
    assert driver.pop("default", 1, NOW + 59, UNTIL).deliveries == []
    assert bodies(driver.pop("default", 1, NOW + 60, UNTIL)) == ["late"]


def test_a_reserved_payload_comes_again_when_its_lease_is_over(driver, other):
    driver.push(parcels("a"))
    driver.pop("default", 1, NOW, UNTIL)

    assert other.pop("default", 1, NOW + LEASE - 1, UNTIL + LEASE - 1).deliveries == []
    [again] = other.pop("default", 1, NOW + LEASE, UNTIL + LEASE).deliveries
    assert again.attempts == 2


def test_the_next_time_is_that_of_the_lease_or_the_delay_that_ends_first(driver):
    driver.push([*parcels("a"), *parcels("b", at=NOW + 300)])
    driver.pop("default", 1, NOW, UNTIL)

    assert driver.pop("default", 1, NOW, UNTIL).next_at == NOW + LEASE
    assert driver.pop("default", 1, NOW, NOW + 400).next_at == NOW + 300


def test_without_a_lease_what_is_reserved_stays_so(driver):
    driver.push(parcels("a"))
    driver.pop("default", 1, NOW, UNTIL)

    assert driver.pop("default", 1, NOW + 10**6, None) == Popped([], None)


def test_classes_to_skip_stay_where_they_are(driver):
    driver.push(
        parcels(
            payload("App\\Jobs\\Slow"),
            payload("Pretty", data={"commandName": "App\\Jobs\\Slow"}),
            payload("x", job="App\\Jobs\\Slow@run"),
            payload("App\\Jobs\\Quick"),
        )
    )

    popped = driver.pop("default", 9, NOW, UNTIL, skip=["App\\Jobs\\Slow"])

    assert bodies(popped) == [payload("App\\Jobs\\Quick")]
    assert driver.counts("default") == Counts(3, 0, 1)


def test_others_are_looked_for_behind_hundreds_of_skipped_payloads(driver):
    driver.push(parcels(*[payload("Slow")] * 950, *[payload("Quick")] * 3))

    assert bodies(driver.pop("default", 2, NOW, UNTIL, skip=["Slow"])) == [payload("Quick")] * 2


def test_no_more_than_a_thousand_payloads_are_looked_at_for_others(driver):
    driver.push(parcels(*[payload("Slow")] * 1000, payload("Quick")))

    assert driver.pop("default", 1, NOW, UNTIL, skip=["Slow"]).deliveries == []


@pytest.mark.parametrize("body", ["", "no JSON", "[1]", '"text"', '{"data": 5}', "[" * 100_000])
def test_what_is_no_payload_is_popped_as_it_is(driver, body):
    driver.push(parcels(body, payload("Quick")))

    assert bodies(driver.pop("default", 9, NOW, UNTIL, skip=["Slow"])) == [body, payload("Quick")]


@pytest.mark.parametrize("value", [b'{"a": "\xff"}', sqlite3.Binary(b'{"a": "\xff"}')])
def test_bytes_that_are_no_text_do_not_stop_their_neighbours(sqlite, sqlite_driver, value):
    sqlite_driver.push(parcels("before", "bytes", "behind"))
    sqlite.run("UPDATE jobs SET payload = CAST(? AS TEXT) WHERE payload = 'bytes'", value)

    assert bodies(sqlite_driver.pop("default", 9, NOW, UNTIL)) == [
        "before",
        '{"a": "\\xff"}',
        "behind",
    ]


def test_a_payload_of_255_attempts_does_not_stop_the_queue(database, driver):
    driver.push(parcels("worn out", "new"))
    database.run("UPDATE jobs SET attempts = 255 WHERE payload = 'worn out'")

    popped = driver.pop("default", 2, NOW, UNTIL)

    assert [each.attempts for each in popped.deliveries] == [256, 1]


def test_poppers_at_once_take_no_payload_twice(database, driver):
    driver.push(parcels(*range(600)))
    taken = []

    def work():
        with closing(DatabaseDriver(database.connect, database.dialect)) as mine:
            while deliveries := mine.pop("default", 7, NOW, UNTIL).deliveries:
                assert all(mine.settle([Settlement(each, "delete") for each in deliveries]))
                taken.extend(each.body for each in deliveries)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    # One that finds the others' rows locked ends early: the rest is for the next look.
    rest = driver.pop("default", 999, NOW, UNTIL)
    assert sorted(map(int, taken + bodies(rest))) == list(range(600))


# Settling


@pytest.fixture
def held(driver):
    """A delivery of ours."""
    driver.push(parcels("mine"))
    [delivery] = driver.pop("default", 1, NOW, UNTIL).deliveries
    return delivery


def test_what_is_done_is_deleted(database, driver, held):
    assert driver.settle([Settlement(held, "delete")]) == [True]
    assert database.jobs() == []


def test_what_is_released_is_a_new_row_with_its_attempts(database, driver, held):
    [(old,)] = database.jobs("id")

    assert driver.settle([Settlement(held, "release", NOW + 30)]) == [True]

    [(new, *row)] = database.jobs("id, queue, payload, attempts, reserved_at, available_at")
    assert new != old
    assert row == ["default", "mine", 1, None, NOW + 30]


def test_what_is_released_goes_to_the_back_and_counts_on(driver, held):
    driver.push(parcels("next"))
    driver.settle([Settlement(held, "release", NOW)])

    popped = driver.pop("default", 2, NOW, UNTIL)

    assert [(each.body, each.attempts) for each in popped.deliveries] == [("next", 1), ("mine", 2)]


def test_what_is_returned_is_at_the_head_with_its_attempt_given_back(database, driver, held):
    driver.push(parcels("next"))

    assert driver.settle([Settlement(held, "return")]) == [True]

    assert database.jobs("payload, attempts, reserved_at") == [("mine", 0, None), ("next", 0, None)]


def test_a_released_payload_keeps_its_bytes(sqlite, sqlite_driver):
    sqlite_driver.push(parcels("x"))
    sqlite.run("UPDATE jobs SET payload = CAST(? AS TEXT)", b"\xff\xfe")
    [delivery] = sqlite_driver.pop("default", 1, NOW, UNTIL).deliveries

    sqlite_driver.settle([Settlement(delivery, "release", NOW)])

    assert sqlite.jobs("CAST(payload AS BLOB)") == [(b"\xff\xfe",)]


def test_followers_are_pushed_in_the_same_step(driver, held):
    followers = (Parcel("default", "second"), Parcel("mail", "later", NOW + 5))

    assert driver.settle([Settlement(held, "delete", follow=followers)]) == [True]

    assert bodies(driver.pop("default", 9, NOW, UNTIL)) == ["second"]
    assert driver.counts("mail") == Counts(0, 1, 0)


@pytest.mark.parametrize("verb", ["delete", "release", "return"])
def test_who_has_lost_its_lease_changes_nothing(database, driver, other, held, verb):
    [taken] = other.pop("default", 1, UNTIL, UNTIL + LEASE).deliveries
    before = database.jobs()

    stale = Settlement(held, verb, NOW, follow=(Parcel("default", "follower"),))

    assert driver.settle([stale]) == [False]
    assert database.jobs() == before
    assert other.settle([Settlement(taken, "delete")]) == [True]


@pytest.mark.parametrize("verb", ["delete", "release", "return"])
def test_nothing_is_settled_twice(driver, held, verb):
    settlement = Settlement(held, verb, NOW, follow=(Parcel("mail", "follower"),))

    assert driver.settle([settlement, settlement]) == [True, False]
    assert driver.settle([settlement]) == [False]
    assert driver.counts("mail").ready == 1


def test_a_lease_that_is_over_still_holds_while_nobody_takes_it(driver, held):
    assert driver.settle([Settlement(held, "delete")]) == [True]


def test_a_stale_hold_does_not_fit_a_row_that_was_given_back(driver, other, held):
    [taken] = other.pop("default", 1, UNTIL, UNTIL + LEASE).deliveries
    other.settle([Settlement(taken, "return")])

    assert driver.settle([Settlement(held, "delete")]) == [False]
    other.pop("default", 1, UNTIL, UNTIL + LEASE)
    assert driver.settle([Settlement(held, "delete")]) == [False]
    assert driver.renew([held], UNTIL) == [False]


def test_many_are_settled_in_one_call(driver):
    driver.push(parcels(*range(1500)))
    popped = driver.pop("default", 1500, NOW, UNTIL)
    verbs = ("delete", "release", "return")

    settlements = [
        Settlement(each, verbs[int(each.body) % 3], NOW + 60) for each in popped.deliveries
    ]

    assert driver.settle(settlements) == [True] * 1500
    assert driver.counts("default") == Counts(500, 500, 0)
    assert driver.settle(settlements) == [False] * 1500


def test_there_is_no_list_of_dead_letters(driver, held):
    with pytest.raises(BrokerError, match="failed_jobs"):
        driver.settle([Settlement(held, "bury", letter="{}")])

    assert driver.settle([Settlement(held, "delete")]) == [True]
    assert driver.settle([Settlement(held, "bury", letter="{}")]) == [False]


def test_nothing_is_settled_or_renewed_of_nothing(driver):
    assert driver.settle([]) == []
    assert driver.renew([], UNTIL) == []


# Renewing


def test_a_renewed_lease_holds_until_then(driver, other, held):
    assert driver.renew([held], UNTIL + 50) == [True]

    assert other.pop("default", 1, UNTIL + 49, UNTIL + 49 + LEASE) == Popped([], UNTIL + 50)
    [taken] = other.pop("default", 1, UNTIL + 50, UNTIL + 50 + LEASE).deliveries
    assert driver.renew([held], UNTIL + 200) == [False]
    assert other.renew([taken], UNTIL + 200) == [True]


def test_a_lease_may_be_renewed_to_what_it_is(driver, held):
    assert driver.renew([held], UNTIL) == [True]
    assert driver.renew([held, held], UNTIL) == [True, True]


def test_a_payload_reserved_for_ever_is_renewed_by_the_clock(database, driver):
    driver.push(parcels("a", at=NOW - 500))
    [delivery] = driver.pop("default", 1, NOW - 500, None).deliveries

    assert driver.renew([delivery], NOW + 1) == [True]
    assert database.jobs("reserved_at") == [(NOW,)]


# Counting and clearing


def test_counts_tell_ready_delayed_and_reserved(driver):
    driver.push([*parcels("a", "b", "c"), *parcels("d", at=NOW + 1)])
    driver.pop("default", 1, NOW, UNTIL)

    assert driver.counts("default") == Counts(2, 1, 1)
    assert driver.counts("other") == Counts(0, 0, 0)


def test_clear_deletes_all_of_one_queue(driver):
    driver.push([*parcels("a", "b"), *parcels("c", at=NOW + 1), *parcels("d", queue="mail")])
    driver.pop("default", 1, NOW, UNTIL)

    assert driver.clear("default") == 3
    assert driver.clear("default") == 0
    assert driver.counts("mail").ready == 1


# Listening


def test_nobody_rings_a_listener(driver):
    listener = driver.listen(["default"])
    listener.arm()

    driver.push(parcels("a"))

    assert select.select([listener], [], [], 0) == ([], [], [])
    listener.disarm()
    listener.close()


def test_a_listener_knows_when_the_sqlite_file_was_written(sqlite, sqlite_driver):
    listener = sqlite_driver.listen(["default"])
    listener.stirred()
    assert not listener.stirred()

    sqlite_driver.push(parcels("a"))
    assert listener.stirred()
    assert not listener.stirred()

    sqlite.run("UPDATE jobs SET attempts = 5")
    assert listener.stirred()
    listener.close()


def test_on_a_server_there_may_always_be_something_new(database, driver):
    listener = driver.listen(["default"])

    listener.stirred()

    assert listener.stirred() is (database.kind != "sqlite")
    listener.close()


# Connections


def test_any_thread_may_push(driver):
    threads = [
        threading.Thread(target=lambda n=n: [driver.push(parcels(f"{n}-{k}")) for k in range(20)])
        for n in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert driver.counts("default").ready == 100


def test_a_closed_driver_opens_again(driver):
    driver.push(parcels("a"))

    driver.close()
    driver.close()

    assert driver.counts("default").ready == 1


def test_a_lost_connection_is_opened_again_by_the_next_verb(server, server_driver):
    server_driver.push(parcels("a"))
    _end_connections(server)

    server_driver.push(parcels("b"))
    _end_connections(server)

    assert bodies(server_driver.pop("default", 2, NOW, UNTIL)) == ["a", "b"]


def test_a_question_leaves_no_transaction_open(server):
    def connect():
        return server.server.connect(autocommit=False)

    with closing(DatabaseDriver(connect, server.dialect)) as driver:
        driver.counts("default")

        if server.kind == "postgresql":
            open_ = server.run("SELECT 1 FROM pg_stat_activity WHERE state = 'idle in transaction'")
        else:
            open_ = server.run("SELECT trx_id FROM information_schema.innodb_trx")
    assert open_ == []


def test_nobody_knows_of_what_was_lost_in_commit(server):
    doomed = True

    class Cursor:
        def __init__(self, real):
            self.real = real

        def __getattr__(self, name):
            return getattr(self.real, name)

        def execute(self, statement, values):
            if doomed and statement == "COMMIT":
                _end_connections(server)
            return self.real.execute(statement, values)

    def connect():
        connection = server.connect()
        real = connection.cursor
        connection.cursor = lambda: Cursor(real())
        return connection

    with closing(DatabaseDriver(connect, server.dialect, clock=lambda: NOW)) as driver:
        with pytest.raises(BrokerUnavailable, match="lost in COMMIT"):
            driver.push(parcels("perhaps"))

        doomed = False
        driver.push(parcels("surely"))

    assert ("surely",) in server.jobs("payload")


def test_a_deadlock_is_gone_through_again(server, server_driver):
    server_driver.push(parcels("a", "b"))
    first, second = server_driver.pop("default", 2, NOW, UNTIL).deliveries
    ids = [id for (id,) in server.jobs("id")]
    settled = []

    def settle():
        settled.extend(
            server_driver.settle([Settlement(first, "delete"), Settlement(second, "delete")])
        )

    with closing(server.connect()) as other:
        cursor = other.cursor()
        cursor.execute("BEGIN")
        for n in range(20):  # MariaDB ends the one that has done less
            cursor.execute("INSERT INTO cache_locks VALUES (%s, 'x', 0)", [str(n)])
        cursor.execute(f"SELECT id FROM jobs WHERE id = {ids[1]} FOR UPDATE")
        thread = threading.Thread(target=settle)
        thread.start()
        time.sleep(0.2)  # by now it has locked the first row, and waits for the second
        with suppress(Exception):  # one of the two is the victim
            cursor.execute(f"SELECT id FROM jobs WHERE id = {ids[0]} FOR UPDATE")
        cursor.execute("ROLLBACK")
    thread.join()

    assert settled == [True, True]
    assert server.jobs() == []


def _end_connections(database):
    if database.kind == "postgresql":
        database.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE usename = 'laravel' AND pid <> pg_backend_pid()"
        )
        return
    rows = database.run(
        "SELECT id FROM information_schema.processlist "
        "WHERE user = 'laravel' AND id <> connection_id()"
    )
    for (id,) in rows:
        database.run(f"KILL {id}")


def test_a_child_process_has_a_connection_of_its_own(driver):
    driver.push(parcels("a"))
    reading, writing = os.pipe()

    child = os.fork()
    if child == 0:
        try:
            driver.push(parcels("of the child"))
            os.write(writing, b"%d" % driver._session.opened)
        finally:
            os._exit(0)
    os.waitpid(child, 0)

    assert os.read(reading, 99) == b"2"
    driver.push(parcels("of the parent"))
    assert bodies(driver.pop("default", 9, NOW, UNTIL)) == ["a", "of the child", "of the parent"]
    os.close(reading)
    os.close(writing)


def test_a_file_that_was_replaced_is_opened_again(sqlite, sqlite_driver, request, tmp_path, caplog):
    sqlite_driver.push(parcels("old"))

    (tmp_path / "tables.sqlite").unlink()
    databases.fresh("sqlite", request, tmp_path)
    sqlite_driver.push(parcels("new"))

    assert sqlite.jobs("payload") == [("new",)]
    assert "replaced" in caplog.text


def test_the_journal_of_a_sqlite_file_stays_as_laravel_has_it(sqlite, sqlite_driver):
    sqlite_driver.push(parcels("a"))
    sqlite_driver.pop("default", 1, NOW, UNTIL)

    assert sqlite.run("PRAGMA journal_mode") == [("delete",)]


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_writer_is_waited_for(sqlite, sqlite_driver, mode):
    sqlite.run(f"PRAGMA journal_mode = {mode}")
    sqlite_driver.push(parcels("a"))
    blocker = sqlite.connect()
    blocker.execute("BEGIN IMMEDIATE")
    threading.Timer(0.2, lambda: blocker.execute("COMMIT")).start()

    start = time.monotonic()
    sqlite_driver.push(parcels("b"))

    assert time.monotonic() - start > 0.15
    assert sqlite_driver.counts("default").ready == 2
    blocker.close()


def test_readers_are_waited_for(sqlite, sqlite_driver):
    sqlite_driver.push(parcels("a"))
    reader = sqlite.connect()
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM jobs").fetchall()
    threading.Timer(0.2, lambda: reader.execute("COMMIT")).start()

    sqlite_driver.push(parcels("b"))

    assert bodies(sqlite_driver.pop("default", 2, NOW, UNTIL)) == ["a", "b"]
    reader.close()


def test_a_lock_that_is_never_let_go_is_a_fault_at_last(sqlite, sqlite_driver, monkeypatch):
    monkeypatch.setattr("liteq.brokers.laravel.connection.PATIENCE", 0.1)
    blocker = sqlite.connect()
    blocker.execute("BEGIN IMMEDIATE")

    with pytest.raises(BrokerUnavailable, match=r"tables\.sqlite.*locked.*left open"):
        sqlite_driver.push(parcels("a"))

    blocker.execute("COMMIT")
    sqlite_driver.push(parcels("b"))
    assert sqlite.jobs("payload") == [("b",)]
    blocker.close()


def test_a_reader_that_never_leaves_is_a_fault_at_last(sqlite, sqlite_driver, monkeypatch):
    monkeypatch.setattr("liteq.brokers.laravel.connection.PATIENCE", 0.1)
    reader = sqlite.connect()
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM jobs").fetchall()

    with pytest.raises(BrokerUnavailable, match="locked"):
        sqlite_driver.push(parcels("a"))

    reader.execute("COMMIT")
    sqlite_driver.push(parcels("b"))
    assert sqlite.jobs("payload") == [("b",)]
    reader.close()


@pytest.mark.parametrize(
    "options",
    [
        {"check_same_thread": False},
        {"check_same_thread": False, "isolation_level": "EXCLUSIVE"},
        pytest.param(
            {"check_same_thread": False, "autocommit": False},
            marks=pytest.mark.skipif(sys.version_info < (3, 12), reason="new in Python 3.12"),
        ),
    ],
)
def test_any_connection_of_the_users_will_do(sqlite, tmp_path, options):
    def connect():
        connection = sqlite3.connect(tmp_path / "tables.sqlite", **options)
        connection.row_factory = sqlite3.Row
        return connection

    driver = DatabaseDriver(connect, "sqlite", clock=lambda: NOW)
    driver.push(parcels("a", "b"))
    [first, second] = driver.pop("default", 2, NOW, UNTIL).deliveries

    assert driver.settle([Settlement(first, "delete"), Settlement(second, "return")]) == [True] * 2
    assert sqlite.jobs("payload") == [("b",)]
    driver.close()


@pytest.mark.parametrize("autocommit", [True, False])
def test_rows_and_commits_may_be_as_the_user_has_them(server, autocommit):
    def connect():
        if server.kind == "postgresql":
            from psycopg.rows import dict_row

            return server.server.connect(autocommit=autocommit, row_factory=dict_row)
        from pymysql.cursors import DictCursor

        return server.server.connect(autocommit=autocommit, cursorclass=DictCursor)

    driver = DatabaseDriver(connect, server.dialect, clock=lambda: NOW)
    driver.push(parcels("a", "b"))
    [first, second] = driver.pop("default", 2, NOW, UNTIL).deliveries

    assert driver.settle([Settlement(first, "delete"), Settlement(second, "return")]) == [True] * 2
    assert server.jobs("payload") == [("b",)]
    driver.close()


def test_a_connection_of_one_thread_tells_how_to_open_one_for_all(tmp_path, sqlite):
    driver = DatabaseDriver(lambda: sqlite3.connect(tmp_path / "tables.sqlite"), "sqlite")
    driver.counts("default")
    errors = []

    def work():
        try:
            driver.push(parcels("a"))
        except BrokerError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert "check_same_thread=False" in str(errors[0])
    driver.close()


# Faults


def test_a_missing_table_tells_how_to_make_it(database, driver):
    database.run("DROP TABLE jobs")

    with pytest.raises(BrokerError, match=r"jobs.*make:queue-table"):
        driver.push(parcels("a"))
    with pytest.raises(BrokerError, match=r"jobs.*make:queue-table"):
        driver.pop("default", 1, NOW, UNTIL)


def test_a_table_of_another_name_may_be_taken(database):
    database.run("ALTER TABLE jobs RENAME TO app_jobs")
    driver = DatabaseDriver(database.connect, database.dialect, "app_jobs", clock=lambda: NOW)

    driver.push(parcels("a"))

    assert database.run("SELECT payload FROM app_jobs") == [("a",)]
    driver.close()


@pytest.mark.parametrize("name", ["", "jobs; DROP TABLE jobs", 'jo"bs', "jobs?", "%s"])
def test_what_is_no_name_of_a_table_is_refused(name):
    with pytest.raises(ValueError, match="no name of a table"):
        DatabaseDriver(lambda: None, "sqlite", name)


def test_an_unknown_dialect_is_refused():
    with pytest.raises(ValueError, match="'oracle'"):
        DatabaseDriver(lambda: None, "oracle")


def test_what_is_no_connection_is_refused():
    with pytest.raises(BrokerError, match="DB-API"):
        DatabaseDriver(threading.Lock, "sqlite").counts("default")


def test_a_missing_file_is_not_made(tmp_path):
    connect, dialect = connector(f"sqlite:///{tmp_path}/none.sqlite")

    with pytest.raises(BrokerUnavailable, match=r"none\.sqlite.*no such file"):
        DatabaseDriver(connect, dialect).counts("default")
    assert not (tmp_path / "none.sqlite").exists()


def test_what_may_not_be_written_is_told(sqlite):
    def connect():
        connection = sqlite.connect()
        connection.execute("PRAGMA query_only = 1")
        return connection

    driver = DatabaseDriver(connect, "sqlite")
    with pytest.raises(BrokerReadOnly, match="readonly"):
        driver.push(parcels("a"))
    assert driver.counts("default") == Counts(0, 0, 0)
    driver.close()


def test_a_file_that_is_no_database_is_told(tmp_path):
    (tmp_path / "text.sqlite").write_text("no database" * 1000)
    connect, dialect = connector(f"sqlite:///{tmp_path}/text.sqlite")

    with (
        closing(DatabaseDriver(connect, dialect)) as driver,
        pytest.raises(BrokerCorrupt, match=r"text\.sqlite.*not a database"),
    ):
        driver.push(parcels("a"))


def test_a_full_disk_is_told_and_then_works_again(sqlite):
    def connect():
        connection = sqlite.connect()
        connection.execute("PRAGMA max_page_count = 40")
        return connection

    with closing(DatabaseDriver(connect, "sqlite", clock=lambda: NOW)) as driver:
        with pytest.raises(BrokerFull, match="free some space"):
            driver.push(parcels(*["x" * 100_000] * 5))
        driver.push(parcels("small"))

    assert sqlite.jobs("payload") == [("small",)]


def test_a_commit_that_is_refused_has_stored_nothing(request, tmp_path):
    postgres = databases.fresh("postgresql", request, tmp_path)
    postgres.run("ALTER TABLE jobs ADD UNIQUE (queue) DEFERRABLE INITIALLY DEFERRED")

    with closing(DatabaseDriver(postgres.connect, postgres.dialect)) as driver:
        with pytest.raises(BrokerError, match="duplicate key"):
            driver.push(parcels("a", "b"))
        driver.push(parcels("c"))

    rows = postgres.jobs("payload")
    postgres.run("DROP TABLE jobs")
    assert rows == [("c",)]


@pytest.mark.parametrize("name", ["postgresql", "mysql"])
def test_a_server_that_is_not_there_is_told_without_the_password(name):
    pytest.importorskip("psycopg" if name == "postgresql" else "pymysql")
    connect, dialect = connector(f"{name}://me:secret@127.0.0.1:1/shop")

    with pytest.raises(BrokerUnavailable, match=f"{name}://me@127.0.0.1:1/shop") as error:
        DatabaseDriver(connect, dialect).push(parcels("a"))
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite://host/path"])
def test_a_url_without_a_file_is_refused(url):
    with pytest.raises(ValueError, match="sqlite:////absolute/path"):
        connector(url)


def test_a_missing_package_is_named(monkeypatch):
    for name in ("pymysql", "MySQLdb", "mysql.connector", "psycopg", "psycopg2"):
        monkeypatch.setitem(sys.modules, name, None)

    with pytest.raises(BrokerUnavailable, match="pip install 'pymysql'"):
        connector("mysql://localhost/shop")
    with pytest.raises(BrokerUnavailable, match=r"pip install 'psycopg\[binary\]'"):
        connector("postgresql://localhost/shop")


# With Laravel


@pytest.fixture
def laravel_here(database, laravel, need):
    """A Laravel that has its queues in `database`."""
    return database.for_laravel(laravel, need)


@pytest.fixture
def real_driver(database):
    """A driver that goes by the clock on the wall, as Laravel does."""
    with closing(DatabaseDriver(database.connect, database.dialect)) as driver:
        yield driver


def now_until():
    now = int(time.time())
    return now, now + LEASE


def test_what_laravel_pushes_is_popped(real_driver, laravel_here):
    laravel_here.dispatch("bulk", 3, QUEUE="mail")
    laravel_here.dispatch("later", 60, "Plain", QUEUE="mail")

    popped = real_driver.pop("mail", 9, *now_until())

    names = [json.loads(each.body)["data"]["commandName"] for each in popped.deliveries]
    assert names == ["App\\Jobs\\Step"] * 3
    assert 50 < popped.next_at - time.time() <= 60
    assert (
        real_driver.settle([Settlement(each, "delete") for each in popped.deliveries]) == [True] * 3
    )
    assert laravel_here.ask.size("mail") == 1


def test_laravel_works_what_is_pushed_released_and_returned(real_driver, laravel_here):
    laravel_here.dispatch("many", "Plain", 3)
    now, until = now_until()
    first, second, third = real_driver.pop("default", 3, now, until).deliveries

    real_driver.settle([Settlement(first, "release", now), Settlement(second, "return")])
    real_driver.settle([Settlement(third, "delete", follow=(Parcel("default", third.body),))])
    events = laravel_here.work("stop-when-empty", "default", "--tries=2")

    handled = [each for each in events if each["event"] == "handled"]

    assert [(each["got"]["+name"], each["attempts"]) for each in handled] == [
        (1, 1),
        (0, 2),
        (2, 1),
    ]


def test_laravel_leaves_alone_what_is_held(real_driver, laravel_here):
    laravel_here.dispatch("job", "Plain")
    now, until = now_until()
    [delivery] = real_driver.pop("default", 1, now, until).deliveries

    assert real_driver.renew([delivery], until) == [True]
    assert laravel_here.ask.pop() is None
    real_driver.renew([delivery], now)
    assert laravel_here.ask.pop()["attempts"] == 2
    assert real_driver.settle([Settlement(delivery, "delete")]) == [False]


def test_what_laravel_holds_or_has_released_is_left_alone_until_then(real_driver, laravel_here):
    laravel_here.dispatch("job", "Releases", 1, 2)
    laravel_here.work("once")
    now, until = now_until()

    assert real_driver.pop("default", 1, now, until).deliveries == []
    [delivery] = real_driver.pop("default", 1, now + 2, until).deliveries
    assert delivery.attempts == 2
    real_driver.settle([Settlement(delivery, "release", now)])
    laravel_here.ask.pop()
    assert real_driver.pop("default", 1, *now_until()).deliveries == []


def test_laravel_and_we_on_one_table_take_nothing_twice(database, laravel_here):
    laravel_here.dispatch("many", "Counted", 200)
    worker = laravel_here.start_worker(QUIET=1, RETRY_AFTER=3)
    ours = []

    def work():
        with closing(DatabaseDriver(database.connect, database.dialect)) as driver:
            while driver.counts("default") != Counts(0, 0, 0):
                now = int(time.time())
                for each in driver.pop("default", 3, now, now + 3).deliveries:
                    command = json.loads(each.body)["data"]["command"]
                    id = re.search(r'"id";i:(\d+);', command)[1]
                    ours.append((int(id), each.attempts))
                    driver.settle([Settlement(each, "delete")])
                    time.sleep(0.02)  # Laravel sleeps a second where SQLite refuses it a lock

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    worker.stop()

    theirs = [(id, attempt) for id, _, _, attempt in laravel_here.counted()]
    # Where SQLite refuses Laravel a lock after a run, that job runs again when its lease is over.
    assert len(set(ours + theirs)) == len(ours + theirs)
    assert {id for id, _ in ours + theirs} == set(range(200))
    assert ours
    assert theirs
