"""Laravel's cache in a database, on SQLite, PostgreSQL and MariaDB."""

import threading
from contextlib import closing

import databases
import pytest

from liteq.brokers.laravel.database_cache import DatabaseCache
from liteq.errors import BrokerError

NOW = 1_800_000_000


class Clock:
    now = float(NOW)

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=databases.KINDS)
def database(request, tmp_path):
    return databases.fresh(request.param, request, tmp_path)


@pytest.fixture
def cache(database, clock):
    with closing(DatabaseCache(database.connect, database.dialect, clock=clock)) as cache:
        yield cache


def rows(database, columns="value, expiration", table="cache"):
    key = databases.TYPES[database.kind]["key"]
    return database.run(f"SELECT {key}, {columns} FROM {table} ORDER BY 1")


# Values


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("1800000000", "i:1800000000;"),
        ("-5", "i:-5;"),
        ("0", "i:0;"),
        ("007", 's:3:"007";'),
        ("1.5", 's:3:"1.5";'),
        ("123456789012345678901", 's:21:"123456789012345678901";'),
        ("b:1;", "b:1;"),
        ('s:2:"hi";', 's:2:"hi";'),
    ],
)
def test_a_value_is_stored_as_laravel_does_and_comes_back(database, cache, value, stored):
    cache.put("key", value, 60)

    assert rows(database) == [("laravel_cache_key", stored, NOW + 60)]
    assert cache.get(["key"]) == [value]


@pytest.mark.parametrize(
    ("stored", "value"),
    [
        ("i:5;", "5"),
        ("d:0.5;", "0.5"),
        ("d:INF;", "d:INF;"),
        ('s:1:"5";', "5"),
        ('s:3:"abc";', 's:3:"abc";'),
        ("a:0:{}", "a:0:{}"),
        ("N;", "N;"),
        ("YjoxOw==", "b:1;"),
        ("rubbish", "rubbish"),
    ],
)
def test_values_come_as_redis_would_hold_them(database, cache, stored, value):
    cache.put("key", "0", None)
    database.run("UPDATE cache SET value = ?", stored)

    assert cache.get(["key"]) == [value]


def test_values_come_in_the_order_of_their_keys(cache):
    cache.put("b", "2", 60)
    cache.put("a", "1", 60)

    assert cache.get(["a", "none", "b", "a"]) == ["1", None, "2", "1"]
    assert cache.get([]) == []


def test_a_value_is_gone_when_its_time_is_over(cache, clock):
    cache.put("key", "1", 60)

    clock.now += 59.9
    assert cache.get(["key"]) == ["1"]
    clock.now += 0.1
    assert cache.get(["key"]) == [None]


def test_a_later_value_takes_the_place_of_an_earlier_one(database, cache):
    cache.put("key", "1", 60)
    cache.put("key", "2", None)

    assert rows(database) == [("laravel_cache_key", "i:2;", NOW + 315_360_000)]


def test_a_value_can_be_taken_out(cache):
    cache.put("key", "1", 60)

    cache.delete("key")
    cache.delete("key")

    assert cache.get(["key"]) == [None]


def test_a_value_with_a_nul_is_kept_as_laravel_does(database, cache):
    value = 'O:1:"A":1:{s:4:"\0*\0a";i:1;}'
    cache.put("key", value, 60)

    assert cache.get(["key"]) == [value]
    if database.kind == "postgresql":
        assert rows(database, "value") == [
            ("laravel_cache_key", "TzoxOiJBIjoxOntzOjQ6IgAqAGEiO2k6MTt9")
        ]


def test_another_prefix_and_other_tables_may_be_taken(database):
    with closing(
        DatabaseCache(database.connect, database.dialect, "laravel-cache-", "cache", "cache_locks")
    ) as cache:
        cache.put("key", "1", 60)

    assert [name for name, _ in rows(database, "value")] == ["laravel-cache-key"]


def test_a_missing_table_tells_how_to_make_it(database, cache):
    database.run("DROP TABLE cache")

    with pytest.raises(BrokerError, match=r"cache.*make:cache-table"):
        cache.get(["key"])


# Counters


def test_a_counter_lives_from_its_start(database, cache, clock):
    assert [cache.count("key", 60) for _ in range(3)] == [1, 2, 3]
    clock.now += 30
    assert cache.count("key", 60) == 4
    assert rows(database) == [("laravel_cache_key", "i:4;", NOW + 60)]

    clock.now += 30
    assert cache.count("key", 60) == 1


def test_a_counter_that_was_put_counts_on(cache):
    cache.put("key", "0", 60)
    assert cache.count("key", 5) == 1

    cache.put("key", "b:1;", 60)
    assert cache.count("key", 5) == 1


def test_counters_count_each_of_many_at_once(database, cache):
    def work():
        with closing(DatabaseCache(database.connect, database.dialect, clock=lambda: NOW)) as mine:
            for _ in range(25):
                mine.count("key", 60)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert cache.count("key", 60) == 101


# Locks


def test_a_lock_has_one_holder_until_it_is_released(database, cache):
    assert cache.lock("job", "me", 60)
    assert not cache.lock("job", "you", 60)
    assert rows(database, "owner, expiration", "cache_locks") == [
        ("laravel_cache_job", "me", NOW + 60)
    ]

    cache.unlock("job", "you")
    assert not cache.lock("job", "you", 60)
    cache.unlock("job", "me")
    assert cache.lock("job", "you", 60)


def test_a_lock_can_be_released_whoever_holds_it(cache):
    cache.lock("job", "me", 60)

    cache.unlock("job", None)

    assert cache.lock("job", "you", 60)


def test_a_lock_is_free_when_its_time_is_over(cache, clock):
    cache.lock("job", "me", 60)

    clock.now += 60

    assert cache.lock("job", "you", 60)


def test_a_lock_without_an_end_holds_for_a_day_as_laravels(database, cache, clock):
    cache.lock("job", "me", None)

    assert rows(database, "expiration", "cache_locks") == [("laravel_cache_job", NOW + 86_400)]


def test_its_holder_may_take_a_lock_again(cache, clock):
    cache.lock("job", "me", 60)
    clock.now += 30

    assert cache.lock("job", "me", 60)
    clock.now += 59
    assert not cache.lock("job", "you", 60)


def test_of_many_at_once_one_gets_the_lock(database):
    got = []

    def work(owner):
        with closing(DatabaseCache(database.connect, database.dialect, clock=lambda: NOW)) as mine:
            got.append(mine.lock("job", owner, 60))

    threads = [threading.Thread(target=work, args=(f"owner {n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(got) == [False] * 7 + [True]


# With Laravel


@pytest.fixture
def php(database, laravel, need):
    """Asks Laravel's own cache on `database`: `php("$cache->get('key')")`."""
    asked = database.for_laravel(laravel, need).ask
    store = (
        "$app = Illuminate\\Container\\Container::getInstance(); $cache = new "
        "Illuminate\\Cache\\Repository(new Illuminate\\Cache\\DatabaseStore("
        "$app['db']->connection(), 'cache', 'laravel_cache_')); return "
    )
    return lambda expression: asked.evaluate(f"{store}{expression};")


@pytest.fixture
def real_cache(database):
    with closing(DatabaseCache(database.connect, database.dialect)) as cache:
        yield cache


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("1800000000", "1800000000"),
        ("0.5", "0.5"),
        ("'5'", "5"),
        ("true", "b:1;"),
        ("'héllo'", 's:6:"héllo";'),
        ("['a' => 1]", 'a:1:{s:1:"a";i:1;}'),
        ("new ArrayIterator([])", 'O:13:"ArrayIterator":4:{i:0;i:0;i:1;a:0:{}i:2;a:0:{}i:3;N;}'),
    ],
)
def test_what_laravel_puts_we_get(real_cache, php, code, value):
    php(f"$cache->put('key', {code}, 60)")

    assert real_cache.get(["key"]) == [value]


@pytest.mark.parametrize(
    ("value", "got"), [("1800000000", 1_800_000_000), ("1.5", "1.5"), ("b:1;", True)]
)
def test_what_we_put_laravel_gets(real_cache, php, value, got):
    real_cache.put("key", value, 60)

    assert php("$cache->get('key')") == got


def test_values_with_nuls_cross_both_ways(real_cache, php):
    php("$cache->put('key', new App\\Address, 60)")
    [value] = real_cache.get(["key"])

    real_cache.put("copy", value, 60)

    assert 's:6:"\0*\0zip"' in value
    assert php("$cache->get('copy') == $cache->get('key')") is True


def test_we_count_on_what_laravel_counts(real_cache, php):
    php("$cache->put('key', 0, 60)")
    php("$cache->increment('key')")

    assert real_cache.count("key", 60) == 2
    assert php("$cache->increment('key')") == 3
    assert real_cache.get(["key"]) == ["3"]


def test_locks_hold_on_both_sides(real_cache, php):
    assert php("$cache->lock('a', 60, 'php')->get()") is True
    assert not real_cache.lock("a", "we", 60)
    real_cache.unlock("a", "php")
    assert real_cache.lock("a", "we", 60)

    assert php("$cache->lock('a', 60, 'php')->get()") is False
    assert php("$cache->lock('a', 60, 'we')->release()") is True
    assert real_cache.lock("a", "others", 60)
    php("$cache->lock('a')->forceRelease()")
    assert php("$cache->lock('a', 60, 'php')->get()") is True


def test_both_sides_keep_values_and_locks_for_ever_alike(database, real_cache, php):
    php("[$cache->forever('a', 1), $cache->lock('a')->get()]")
    real_cache.put("b", "1", None)
    real_cache.lock("b", "we", None)

    for table in ("cache", "cache_locks"):
        [(_, theirs), (_, ours)] = rows(database, "expiration", table)
        assert abs(theirs - ours) <= 5
