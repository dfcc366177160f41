"""Naming: what Laravel calls its keys, which has changed over its versions. Pure.

Sources: config/database.php and config/cache.php of laravel/laravel, `Cache\\RedisStore` and
`Bus\\UniqueLock` of laravel/framework, of versions 8 to 13.
"""

OLDEST, USUAL, NEWEST = 8, 12, 13  # USUAL: where nothing is said; 11 and 12 are alike


def redis_prefix(version: int) -> str:
    """Of every key on Redis, in an application whose name is still Laravel."""
    return "laravel-database-" if version >= 13 else "laravel_database_"


def cache_prefix(version: int) -> str:
    """Of the cache's keys, after that; up to Laravel 10 Redis' cache adds a colon to it."""
    if version >= 13:
        return "laravel-cache-"
    return "laravel_cache_" if version >= 11 else "laravel_cache_:"


def unique_lock(version: int, name: str, unique_id: str) -> str:
    """The lock of a unique job of class `name`, without the cache's prefix."""
    return f"laravel_unique_job:{name}{':' if version >= 11 else ''}{unique_id}"


def checked(version: object) -> int:
    """The number of a version of Laravel. Raises ValueError for one that is not known."""
    if isinstance(version, int) and OLDEST <= version <= NEWEST:
        return version
    raise ValueError(f"laravel={version!r} must be a version from {OLDEST} to {NEWEST}")
