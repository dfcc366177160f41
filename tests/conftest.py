"""What all tests share: Hypothesis profiles, skips that a CI does not forgive, real servers."""

import os

import pytest
from hypothesis import settings

import servers

CI = os.environ.get("CI", "").lower() == "true"

settings.register_profile("dev", max_examples=50, deadline=None)
settings.register_profile("ci", max_examples=200, deadline=None, derandomize=True)
settings.load_profile("ci" if CI else "dev")


@pytest.fixture(scope="session")
def need():
    """`need(found, "a PHP interpreter")`: without it, skip locally and fail in CI."""

    def check(found, what):
        if found:
            return
        if CI:
            pytest.fail(f"this test needs {what}, and CI must have it", pytrace=False)
        pytest.skip(f"needs {what}")

    return check


@pytest.fixture(scope="session")
def redis_session(need):
    """A Redis that all tests of the run share; see `redis_server`."""
    need(servers.Redis.there(), "redis-server")
    with servers.running(servers.Redis()) as server:
        yield server


@pytest.fixture
def redis_server(redis_session):
    """A running Redis with nothing in it. A test may kill it; it does not keep what it holds."""
    if not redis_session.running():
        redis_session.start()
    redis_session.flush()
    return redis_session


@pytest.fixture
def redis_client(redis_server):
    """A redis-py client of `redis_server`, with texts as str."""
    with redis_server.client() as client:
        yield client


@pytest.fixture
def own_redis(need):
    """A Redis of the test's own, which keeps on disk what it has said yes to."""
    need(servers.Redis.there(), "redis-server")
    with servers.running(servers.Redis(append=True)) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server(need):
    """A PostgreSQL that all tests of the run share."""
    need(servers.Postgres.there(), "PostgreSQL's server")
    with servers.running(servers.Postgres()) as server:
        yield server


@pytest.fixture(scope="session")
def mariadb_server(need):
    """A MariaDB that all tests of the run share."""
    need(servers.MariaDB.there(), "MariaDB's server")
    with servers.running(servers.MariaDB()) as server:
        yield server
