"""What the dialects of Laravel's databases say, without a database."""

import sqlite3
import sys
import types

import pytest

from liteq.brokers.laravel import dialects
from liteq.errors import BrokerError

SKIPS = " FOR UPDATE SKIP LOCKED"
WAITS = " FOR UPDATE"


@pytest.mark.parametrize(
    ("name", "version", "lock"),
    [
        ("mysql", "5.7.44", WAITS),
        ("mysql", "8.0.0", WAITS),
        ("mysql", "8.0.1", SKIPS),
        ("mysql", "8.0.36-0ubuntu0.22.04.1", SKIPS),
        ("mysql", "9.1.0", SKIPS),
        ("mariadb", "10.5.23-MariaDB-1:10.5.23+maria~deb11", WAITS),
        ("mariadb", "10.6.0-MariaDB", SKIPS),
        ("mariadb", "5.5.5-10.5.23-MariaDB", WAITS),
        ("mariadb", "5.5.5-10.11.6-MariaDB-log", SKIPS),
        ("mariadb", "11.4.2-MariaDB", SKIPS),
        ("postgresql", "9.4.26", WAITS),
        ("postgresql", "9.5.25", SKIPS),
        ("pgsql", "15.6 (Debian 15.6-0+deb12u1)", SKIPS),
        ("postgresql", "18beta1", SKIPS),
        ("mysql", "who knows", WAITS),
        ("sqlite", "3.40.1", ""),
    ],
)
def test_locked_rows_are_passed_over_where_the_server_can(name, version, lock):
    assert dialects.named(name).lock_for_popping(version) == lock


@pytest.mark.parametrize(
    ("name", "quoted"),
    [
        ("sqlite", '"app"."jobs"'),
        ("postgresql", '"app"."jobs"'),
        ("mariadb", "`app`.`jobs`"),
    ],
)
def test_names_are_quoted_as_the_dialect_has_it(name, quoted):
    assert dialects.named(name).quoted("app.jobs") == quoted


class Error(Exception):
    """As a DB-API driver has it."""


def raised(kind, **fields):
    error = type("OperationalError", (Error,), {"__module__": "fake_driver"})(*kind)
    for name, value in fields.items():
        setattr(error, name, value)
    return error


@pytest.fixture
def fake_driver(monkeypatch):
    module = types.ModuleType("fake_driver")
    module.paramstyle = "numeric"
    monkeypatch.setitem(sys.modules, "fake_driver", module)
    monkeypatch.setattr(Error, "__module__", "fake_driver")
    return module


@pytest.mark.parametrize(
    ("name", "error", "fields", "fault"),
    [
        ("mysql", (1213, "Deadlock found"), {}, "again"),
        ("mysql", (2006, "gone away"), {}, "lost"),
        ("mysql", (1366, "Incorrect string value"), {}, "other"),
        ("mysql", ("text",), {}, "other"),
        ("mysql", ("MySQL Connection not available",), {"errno": -1}, "lost"),
        ("mysql", ("2013: Lost",), {"errno": 2013}, "lost"),
        ("postgresql", ("deadlock",), {"sqlstate": "40P01"}, "again"),
        ("postgresql", ("deadlock",), {"pgcode": "40P01"}, "again"),
        ("postgresql", ("refused",), {}, "unavailable"),
        ("postgresql", ("too many",), {"sqlstate": "53300"}, "unavailable"),
        ("postgresql", ("disk",), {"sqlstate": "53100"}, "full"),
        ("sqlite", ("database is locked",), {}, "again"),
    ],
)
def test_errors_of_drivers_are_told_apart(fake_driver, name, error, fields, fault):
    assert dialects.named(name).fault(raised(error, **fields)) == fault


def test_errors_of_others_are_no_faults_of_a_database():
    dialect = dialects.named("sqlite")

    assert dialect.fault(ValueError("database is locked")) is None
    assert dialect.fault(sqlite3.OperationalError("no such table: jobs")) == "missing"


def test_a_driver_of_another_style_is_refused(fake_driver):
    connection = type("Connection", (), {"__module__": "fake_driver.core"})()

    with pytest.raises(BrokerError, match="'numeric'"):
        dialects.placeholder(connection)


def test_the_style_of_a_driver_is_known_by_its_connection(fake_driver):
    fake_driver.paramstyle = "pyformat"
    connection = type("Connection", (), {"__module__": "fake_driver.core"})()

    assert dialects.placeholder(connection) == "%s"
    assert dialects.placeholder(_memory()) == "?"


def _memory():
    class Mine(sqlite3.Connection):
        pass

    connection = sqlite3.connect(":memory:", factory=Mine)
    connection.close()
    return connection
