"""A Laravel queue in one line: what its URL may say, and what it must not."""

import artisan
import pytest
import redis

import servers
from liteq import brokers
from liteq.brokers.laravel import client, urls
from liteq.brokers.laravel.base import Parcel
from liteq.brokers.laravel.database import DatabaseDriver
from liteq.brokers.laravel.database_cache import DatabaseCache
from liteq.brokers.laravel.ledger import DatabaseLedger
from liteq.brokers.laravel.redis import Keys, RedisCache, RedisDriver
from liteq.errors import BrokerUnavailable

REDIS = "laravel+redis://127.0.0.1:1/0"


@pytest.fixture
def made(monkeypatch):
    """`made(url)`: the broker, closed at the end; no key of the application is known."""
    for name in ("APP_KEY", "LARAVEL_APP_KEY", "APP_PREVIOUS_KEYS", "LARAVEL_APP_PREVIOUS_KEYS"):
        monkeypatch.delenv(name, raising=False)
    found = []

    def make(url):
        found.append(urls.broker(url))
        return found[-1]

    yield make
    for broker in found:
        broker.close()


def options(client):
    """What a client of ours would connect with."""
    return client._client.connection_pool.connection_kwargs


def test_a_bare_url_has_laravels_own_defaults(made):
    broker = made(REDIS)
    site = broker.site

    assert broker.url == REDIS
    assert (site.connection, site.queues, site.default_queue) == ("redis", ("default",), "default")
    assert (broker.queues, broker.lease) == (("default",), 90)
    assert (site.retry_after, site.tries, site.laravel) == (90, None, 12)
    assert (site.encrypter, site.ledger, site.horizon) == (None, None, None)
    assert isinstance(broker.driver, RedisDriver)
    assert broker.driver.keys == Keys("laravel_database_", False)
    assert isinstance(site.cache, RedisCache)
    assert site.cache._prefix == "laravel_database_laravel_cache_"


def test_each_parameter_is_heeded(made):
    broker = made(
        f"{REDIS}?queues=high, low,&retry_after=30&connection=shared&queue=own&tries=0"
        "&prefix=shop_&cache_prefix=c_&cache_db=1&lock_db=2&horizon=shop_horizon:"
    )
    site = broker.site

    assert (site.connection, site.queues, site.default_queue) == ("shared", ("high", "low"), "own")
    assert (site.retry_after, site.tries, broker.lease) == (30, 0, 30)
    assert broker.driver.keys.prefix == "shop_"
    assert site.cache._prefix == "shop_c_"
    assert options(site.cache._client)["db"] == 1
    assert options(site.cache._locks)["db"] == 2
    assert options(broker.driver.client)["db"] == 0
    assert (site.horizon.prefix, site.horizon.connection) == ("shop_horizon:", "shared")


def test_queues_are_the_connections_own_unless_named(made):
    assert made(f"{REDIS}?queue=mail").queues == ("mail",)


def test_a_reservation_may_never_run_out(made):
    assert made(f"{REDIS}?retry_after=none").lease is None


@pytest.mark.parametrize(
    ("version", "prefix", "cache"),
    [
        (8, "laravel_database_", "laravel_database_laravel_cache_:"),
        (11, "laravel_database_", "laravel_database_laravel_cache_"),
        (13, "laravel-database-", "laravel-database-laravel-cache-"),
    ],
)
def test_a_version_says_how_keys_are_named(made, version, prefix, cache):
    broker = made(f"{REDIS}?laravel={version}")

    assert (broker.driver.keys.prefix, broker.site.cache._prefix) == (prefix, cache)


def test_the_cache_may_be_elsewhere_or_nowhere(made, tmp_path):
    there = f"sqlite:///{tmp_path}/x.sqlite"

    assert made(f"{REDIS}?cache=none").site.cache is None
    assert isinstance(made(f"{REDIS}?cache={there}").site.cache, DatabaseCache)
    assert options(made(f"{REDIS}?cache=redis://other:7/3").site.cache._client)["host"] == "other"


def test_failures_may_go_to_a_database(made, tmp_path):
    site = made(f"{REDIS}?failed=sqlite:///{tmp_path}/x.sqlite&failed_table=f&batches_table=b").site

    assert isinstance(site.ledger, DatabaseLedger)
    assert (site.ledger._failed, site.ledger._batches) == ('"f"', '"b"')


def test_a_database_has_all_in_one_place(made, tmp_path):
    broker = made(f"laravel+sqlite:///{tmp_path}/x.sqlite?table=t&queues=a&cache_prefix=c_")

    assert isinstance(broker.driver, DatabaseDriver)
    assert isinstance(broker.site.ledger, DatabaseLedger)
    assert isinstance(broker.site.cache, DatabaseCache)
    assert broker.site.connection == "database"
    assert made(f"laravel+sqlite:///{tmp_path}/x.sqlite?cache=none").site.cache is None


def test_the_key_of_the_application_comes_from_the_environment(made, monkeypatch):
    monkeypatch.setenv("APP_KEY", artisan.APP_KEY)
    token = made(REDIS).site.encrypter.encrypt_job(b"i:5;")
    monkeypatch.setenv("LARAVEL_APP_KEY", "base64:" + "QUFB" * 10 + "QUE=")
    monkeypatch.setenv("LARAVEL_APP_PREVIOUS_KEYS", f", {artisan.APP_KEY} ")

    assert made(REDIS).site.encrypter.decrypt_job(token) == b"i:5;"


@pytest.mark.parametrize(
    ("scheme", "host"),
    [("redis", {"host": "h"}), ("rediss", {"host": "h"}), ("unix", {"path": "/s"})],
)
def test_redis_is_reached_in_each_of_its_ways(made, scheme, host):
    place = "/s" if scheme == "unix" else "u:p%40@h:5/3"
    broker = made(f"laravel+{scheme}://{place}?socket_timeout=3&client_name=me&protocol=3")

    given = options(broker.driver.client)

    assert host.items() <= given.items()
    assert (given["socket_timeout"], given["client_name"]) == (3, "me")
    if scheme != "unix":
        assert (given["username"], given["password"], given["db"]) == ("u", "p@", 3)


def test_redis_pys_own_parameters_are_let_through(made):
    broker = made(
        "laravel+rediss://h?ssl_cert_reqs=none&ssl_ca_certs=/ca&max_connections=7&db=4"
        "&health_check_interval=9&socket_keepalive=1"
    )

    assert options(broker.driver.client)["ssl_ca_certs"] == "/ca"
    assert broker.driver.client._client.connection_pool.max_connections == 7


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (f"{REDIS}?retry_after=abc", "retry_after='abc'"),
        (f"{REDIS}?retry_after=0", "at least 1 second, or none"),
        (f"{REDIS}?retry_after=-5", "retry_after='-5'"),
        (f"{REDIS}?tries=x", "tries='x'"),
        (f"{REDIS}?cache_db=x", "cache_db or lock_db='x'"),
        (f"{REDIS}?cluster=yes", "cluster='yes'"),
        (f"{REDIS}?queues=,", "names no queue"),
        (f"{REDIS}?laravel=7", "laravel=7 must be a version"),
        (f"{REDIS}?laravel=new", "laravel='new' must be a version"),
        (f"{REDIS}?retry_afer=30", "no parameter is named 'retry_afer'.* retry_after"),
        (f"{REDIS}?queus=a", "no parameter is named 'queus'"),
        (f"{REDIS}?colour=blue", "no parameter is named 'colour'.* retry_after"),
        (f"{REDIS}?ssl_ca_certs=/x", "no parameter is named 'ssl_ca_certs'"),
        (f"{REDIS}?cache=redis://h?colour=blue", "no parameter is named 'colour'"),
        ("laravel+sqlite:////x.db?colour=blue", "no parameter is named 'colour'"),
        ("laravel+mysql://h/d?quues=a", "no parameter is named 'quues'"),
        ("laravel+redis://h:port/0", "Port"),
        ("laravel+redis://h/0?db=x", "db"),
        ("laravel+sqs://h", "no Laravel queue for the URL"),
        ("laravel+redis:h", "no Laravel queue for the URL"),
        ("redis://h", "begins with one of laravel\\+redis://"),
        ("laravel+sqlite:///", "names no file"),
        (f"{REDIS}?failed=oracle://h", "oracle"),
    ],
)
def test_what_a_url_must_not_say_is_refused_at_once(made, url, why):
    with pytest.raises(ValueError, match=why):
        made(url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("laravel+redis://:s3cret@h/0", "laravel+redis://:***@h/0"),
        ("laravel+redis://me:s3@cret@h/0?prefix=a", "laravel+redis://me:***@h/0?prefix=a"),
        ("laravel+unix:///s?password=s3cret&db=1", "laravel+unix:///s?password=***&db=1"),
        (f"{REDIS}?cache=redis://:s3cret@h/1", f"{REDIS}?cache=redis://:***@h/1"),
        (f"{REDIS}?cache=redis%3A%2F%2F%3As3cret%40h", f"{REDIS}?cache=redis://:***@h"),
        (f"{REDIS}?prefix=a%2Fb", f"{REDIS}?prefix=a%2Fb"),
    ],
)
def test_no_password_is_ever_shown(made, url, shown):
    assert made(url).url == shown
    with pytest.raises(ValueError, match="no Laravel queue") as caught:
        made(url.replace("laravel+redis:", "laravel+sqs:").replace("laravel+unix:", "laravel+x:"))
    assert "cret" not in str(caught.value)


def test_a_job_id_finds_its_broker_by_the_url_that_is_shown(made, monkeypatch):
    url = "laravel+redis://:s3cret@127.0.0.1:1/7"

    broker = brokers.connect(url)

    assert brokers.connect(broker.url) is broker


def test_without_redis_py_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "redis", None)

    with pytest.raises(ImportError, match=r"pip install \"liteq\[redis\]\""):
        client.connect("redis://h")


def test_a_cluster_is_reached_when_it_is_used(made, need):
    need(servers.Redis.there(), "redis-server")
    with servers.running(servers.Redis(options=("--cluster-enabled", "yes"))) as server:
        with server.client() as plain:
            plain.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            server._wait(lambda: plain.cluster("INFO")["cluster_state"] == "ok", "cluster")
        broker = made(f"laravel+redis://127.0.0.1:{server.port}?cluster=1&queues=a,b")
        broker.pause("b")

        broker.push([Parcel("a", '{"attempts":0}'), Parcel("b", '{"attempts":0}')])

        assert broker.count() == [("a", "pending", 1), ("b", "pending", 1)]
        assert broker.paused() == {"b": ""}
        with redis.RedisCluster(port=server.port, host="127.0.0.1") as cluster:
            assert cluster.llen("laravel_database_queues:{a}") == 1


def test_a_cluster_that_is_not_there_is_said_so(made):
    broker = made(f"laravel+redis://127.0.0.1:{servers.free_port()}?cluster=1")

    with pytest.raises(BrokerUnavailable, match="cannot be reached"):
        broker.count()
