"""Fixtures of the tests with a real Laravel."""

import shutil

import artisan
import pairs
import pytest


@pytest.fixture(scope="session")
def _migrated(need, tmp_path_factory):
    """A SQLite file as Laravel's own migrations leave it, to be copied."""
    need(artisan.there(), "PHP with Laravel, php-redis and php-sqlite3")
    folder = tmp_path_factory.mktemp("migrated")
    (folder / "laravel.sqlite").touch()
    laravel = artisan.Laravel(folder, 0, folder / "laravel.sqlite")
    laravel.dispatch("migrate")
    return laravel.database


@pytest.fixture(scope="session")
def php(_migrated, tmp_path_factory):
    """PHP with Laravel's classes, to be asked: `php.unserialize(b"i:5;")`. Has no servers."""
    laravel = artisan.Laravel(tmp_path_factory.mktemp("php"), 0, _migrated)
    yield laravel.ask
    laravel.close()


@pytest.fixture
def laravel(_migrated, redis_server, tmp_path):
    """A Laravel on `redis_server` and on a SQLite file of its own, both empty."""
    yield from _laravel(_migrated, redis_server, tmp_path)


@pytest.fixture
def own_laravel(_migrated, own_redis, tmp_path):
    """The same on `own_redis`."""
    yield from _laravel(_migrated, own_redis, tmp_path)


def _laravel(migrated, redis, folder):
    laravel = artisan.Laravel(folder, redis.port, shutil.copy(migrated, folder / "laravel.sqlite"))
    yield laravel
    laravel.close()


@pytest.fixture(params=["redis", "database"])
def pair(laravel, redis_server, request):
    """A Laravel and Python on the same queues: on Redis, then in Laravel's SQLite file."""
    laravel.env["QUEUE_CONNECTION"] = request.param
    pair = pairs.Pair(laravel, redis_server, request.param)
    yield pair
    pair.close()
