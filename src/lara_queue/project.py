"""Projects: what a Laravel application's own configuration says about its queues.

`from_laravel("/path")` reads composer's lock, `.env` and `config/*.php` as text; no PHP runs. What
cannot be known without PHP is left out and named in `Project.unknown`, never guessed.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from lara_queue import phpconfig, places
from lara_queue.files import Files, Part, table_of
from lara_queue.phpconfig import Table, Unknown
from lara_queue.places import Batching, Cache, Database, Failed, Horizon, Redis
from liteq.laravel import naming

_SERVED = ("redis", "database")
_NOT_CONNECTIONS = ("client", "options", "clusters")  # keys of database.redis that are none
_TLS = ("tls", "ssl", "rediss")
_IN_DATABASE_URL = (
    "database", "host", "port", "username", "password", "unix_socket", "sslmode", "search_path",
    "schema",
)  # fmt: skip
_SCHEMES = {"mysql": "mysql", "mariadb": "mysql", "pgsql": "postgresql"}
_PORTS = {"mysql": 3306, "mariadb": 3306, "pgsql": 5432}


@dataclass(frozen=True, slots=True, repr=False)
class Project:
    """A Laravel application, as far as its files tell. The repr shows no secrets."""

    root: str
    laravel_version: str | None  # "12.3.0", or "12" where only composer.json tells
    app_name: str | None
    app_key: str | None  # as written: "base64:…"
    previous_keys: tuple[str, ...]
    cipher: str
    connection: str  # the queue connection's name
    driver: str  # "redis" and "database" can be served
    queue: str | None
    retry_after: int | None
    block_for: int | None
    after_commit: bool
    redis: Redis | None  # of the driver "redis"
    database: Database | None  # of the driver "database"
    cache: Cache
    failed: Failed
    batching: Batching
    horizon: Horizon
    unknown: list[str]  # what could not be known or reached, a sentence each, and what to do
    needed: Mapping[str, str] = field(default_factory=dict)  # those of them that url() needs

    def __repr__(self) -> str:
        return places.masked(self)

    def url(self, **options: str | int | None) -> str:
        """The broker URL that a worker takes: `liteq worker --url …`.

        Each option replaces what the query says under its name, as `prefix="shop_"` or
        `queues="emails,default"`; None takes it out. Raises ValueError where the driver cannot be
        served, or where something that is needed is not known and not given.
        """
        if self.driver not in _SERVED:
            raise ValueError(
                f"the queue connection {self.connection!r} has the driver {self.driver!r}; Python "
                'serves "redis" and "database": name a connection that has one of them, as in '
                'from_laravel(path, connection="redis")'
            )
        for name, sentence in self.needed.items():
            if name == "server" or name not in options:
                raise ValueError(f"the queue's URL cannot be told: {sentence}")
        query: dict[str, str | None]
        if self.redis is not None:
            base, query = _redis_base(self.redis), _redis_query(self, self.redis)
        else:
            base, query = _database_base(self), _database_query(self)
        query |= {name: None if v is None else str(v) for name, v in options.items()}
        given = {name: value for name, value in query.items() if value is not None}
        return f"{base}?{urlencode(given, quote_via=quote, safe=',:/')}"

    def settings(self) -> dict[str, Any]:
        """The settings of a `Queue` or `AsyncQueue` beside this application.

        Queue(client, queue=project.queue, **project.settings())
        """
        redis, cache = self.redis, self.cache
        where: str | None = None
        if not cache.shared:
            where = "none"
        elif cache.url:
            where = cache.url
        elif redis is not None and cache.database not in (None, redis.database):
            where = f"{_redis_base(redis).removeprefix('laravel+')}?db={cache.database}"
        return {
            "laravel": _major(self.laravel_version),
            "prefix": redis.prefix if redis else None,
            "cluster": bool(redis and redis.cluster and _braces(self.laravel_version)),
            "connection": self.connection,
            "default_queue": self.queue or "default",
            "retry_after": self.retry_after,
            "cache": where,
            "cache_prefix": cache.prefix,
            "app_key": self.app_key,
            "previous_keys": self.previous_keys,
            "failed": self.failed.url,
            "horizon": self.horizon.prefix if self.horizon.shared else None,
        }

    def environment(self, **options: str | int | None) -> dict[str, str]:
        """The variables to export for a worker: its URL (with `options`, see `url`), its keys."""
        found = {"LITEQ_URL": self.url(**options)}
        if self.app_key:
            found["LARAVEL_APP_KEY"] = self.app_key
        if self.previous_keys:
            found["LARAVEL_APP_PREVIOUS_KEYS"] = ",".join(self.previous_keys)
        return found


def from_laravel(path: str | os.PathLike[str], connection: str | None = None) -> Project:
    """What the Laravel application at `path` says about its queue connection, or its default one.

    The process' own environment variables win over `.env`, and a cached configuration over both,
    as they do in Laravel. Raises ValueError naming the file, and the line where there is one.
    """
    root = os.path.abspath(os.fspath(path))
    for name in ("artisan", "composer.json"):
        if not os.path.isfile(os.path.join(root, name)):
            raise ValueError(
                f"{root} is no Laravel project: it has no file {name!r}; give the directory that "
                "holds artisan and composer.json"
            )
    return _Reading(Files(root)).project(connection)


class _Reading:
    """One reading of a project: its files' values, and what turned out not to be known."""

    def __init__(self, files: Files) -> None:
        self.files = files

    def project(self, connection: str | None) -> Project:
        app = self.files.part("app")
        name = self._connection(connection)
        queue = self.files.part("queue", "connections", name, need="queues")
        driver = queue.text("driver", "null", need="") or "unknown"
        redis = self._redis(self._redis_name(name), need="server") if driver == "redis" else None
        database = self._queue_table(name) if driver == "database" else None
        failed = self._failed()
        return Project(
            root=self.files.root,
            laravel_version=self.files.version,
            app_name=app.text("name"),
            app_key=app.text("key", secret=True) or None,
            previous_keys=self._previous_keys(),
            cipher=app.text("cipher") or "AES-256-CBC",
            connection=name,
            driver=driver,
            queue=queue.text("queue", "default"),
            retry_after=queue.number("retry_after", 60, need="retry_after"),
            block_for=queue.number("block_for", None, need=""),
            after_commit=bool(queue.number("after_commit", 0, need="")),
            redis=redis,
            database=database,
            cache=self._cache(redis, database),
            failed=failed,
            batching=self._batching(failed),
            horizon=self._horizon(redis),
            unknown=self.files.unknown,
            needed=self.files.needed,
        )

    def _previous_keys(self) -> tuple[str, ...]:
        keys = self.files.find("app", "previous_keys")
        if isinstance(keys, str):
            keys = Table(dict(enumerate(keys.split(","))))
        if isinstance(keys, Unknown):
            self.files.miss(("app", "previous_keys"), keys, "", secret=True)
        if not isinstance(keys, Table):
            return ()
        app = Part(self.files, ("app", "previous_keys"), keys, "")
        found = [app.text(key, secret=True) for key in keys.entries]
        return tuple(key for key in found if key)

    def _connection(self, asked: str | None) -> str:
        connections = self.files.find("queue", "connections")
        table = connections if isinstance(connections, Table) else Table()
        names = ", ".join(str(key) for key in table.entries) or "none that is known"
        default = self.files.find("queue", "default")
        if asked is None and isinstance(default, Unknown):
            raise ValueError(
                f"{default.file}:{default.line}: the default queue connection is computed by "
                f"`{default.source}`, which only PHP can tell; pass connection=…, there are {names}"
            )
        name = asked if asked is not None else phpconfig.text(default) or "null"
        if name in table.entries or (name == "null" and asked is None):
            return name
        rest = connections if isinstance(connections, Unknown) else table.rest
        if rest is not None:
            raise ValueError(
                f"{rest.file}:{rest.line}: the queue connection {name!r} may be defined by "
                f"`{rest.source}`, which only PHP can tell; known are {names}"
            )
        raise ValueError(f"no queue connection is named {name!r}; config/queue.php has {names}")

    def _redis_name(self, name: str) -> str | None:
        return self.files.part("queue", "connections", name, need="server").text(
            "connection", "default"
        )

    def _redis(self, name: str | None, need: str = "") -> Redis | None:
        if name is None:
            return None
        found, cluster = self._redis_place(name)
        if found is None:
            self._refuse_connection("redis", name, need)
            return None
        where = ("database", "redis", name)
        client = self.files.part("database", "redis").text("client", "phpredis")
        server = Part(self.files, where, found, need).with_url()
        username, password = server.login()
        named = client == "predis" or server.has_acl() or self.files.major != 8
        if not password or not named:
            username = None  # as Laravel leaves it out then
        host, scheme, path = _address(server)
        return Redis(
            scheme=scheme,
            host=None if path else host,
            port=None if path else server.number("port", 6379),
            socket=path,
            username=username,
            password=password,
            database=server.number("database", 0),
            prefix=self._redis_prefix(server, client, cluster, need),
            cluster=cluster,
            url=server.url,
        )

    def _redis_place(self, name: str) -> tuple[Table | None, bool]:
        """The settings of a Redis connection, and whether it is a cluster's first node."""
        found = self.files.find("database", "redis", name)
        if isinstance(found, str):
            found = Table({"url": found})
        if found is not None and name not in _NOT_CONNECTIONS:
            return table_of(found), False
        nodes = self.files.find("database", "redis", "clusters", name)
        if isinstance(nodes, Table):
            first = next((n for n in nodes.entries.values() if isinstance(n, Table)), None)
            return first or Table(rest=nodes.rest), True
        return (Table(rest=nodes), True) if isinstance(nodes, Unknown) else (None, False)

    def _redis_prefix(
        self, server: Part, client: str | None, cluster: bool, need: str
    ) -> str | None:
        """The prefix of keys: a connection's own wins since Laravel 9, with predis before."""
        need = need and "prefix"
        shared = self.files.part("database", "redis", "options", need=need)
        own = server.inner("options")
        if cluster:
            own = self.files.part("database", "redis", "clusters", "options", need=need)
        order = [own, shared] if cluster else [own, shared, server]
        if not cluster and ((self.files.major or 99) >= 9 or client == "predis"):
            order = [server, own, shared]
        for part in order:
            if part.table.get("prefix") is not None:
                return part.text("prefix", need=need)
        return ""

    def _queue_table(self, name: str) -> Database:
        queue = self.files.part("queue", "connections", name, need="server")
        found = self._database(queue.text("connection"), "server")
        return self._with_table(found, queue.text("table", "jobs", need="table"), "jobs")

    def _with_table(self, found: Database, table: str | None, default: str) -> Database:
        name = found.prefix + (table or default)
        return Database(found.driver, found.url, found.prefix, name)

    def _database(self, name: str | None, need: str = "") -> Database:
        if name is None:
            name = self.files.part("database", need=need).text("default")
        nothing = Database(None, None, "", "")
        if not name:
            return nothing
        found = self.files.find("database", "connections", name)
        if found is None:
            self._refuse_connection("connections", name, need)
            return nothing
        where = ("database", "connections", name)
        server = Part(self.files, where, table_of(found), need).with_url()
        driver = server.text("driver")
        prefix = server.text("prefix", "", need=need and "table") or ""
        server = server.writing()
        url = _database_url(driver, server, self.files.root)
        if url is None and not need and not server.hides("driver", *_IN_DATABASE_URL):
            self.files.say(
                f"config/database.php: the database {name!r} is out of Python's reach; it serves "
                "sqlite (in a file), mysql, mariadb and pgsql"
            )
        return Database(driver, url, prefix, "")

    def _refuse_connection(self, kind: str, name: str, need: str) -> None:
        known = self.files.find("database", kind)
        names = [str(key) for key in known.entries] if isinstance(known, Table) else []
        names = [key for key in names if key not in _NOT_CONNECTIONS] or ["none that is known"]
        sentence = (
            f"config/database.php has no {'Redis ' if kind == 'redis' else ''}connection "
            f"{name!r}, only {', '.join(names)}"
        )
        if need:
            raise ValueError(f"{sentence}; the queue connection names it")
        self.files.say(f"{sentence}; what would be there is left out")

    def _cache(self, redis: Redis | None, database: Database | None) -> Cache:
        store = self.files.part("cache").text("default")
        if store is None:
            return Cache(None, None, shared=False)
        part = self.files.part("cache", "stores", store)
        driver = part.text("driver")
        place = part if part.table.get("prefix") is not None else self.files.part("cache")
        prefix = place.text("prefix", "")
        if driver == "redis":
            return self._redis_cache(store, part, prefix, redis)
        if driver == "database":
            return self._database_cache(store, part, prefix, database)
        self.files.say(
            f"config/cache.php: the cache store {store!r} is out of Python's reach; restarts, "
            "pauses and unique locks are shared through a store of the driver redis or database"
        )
        return Cache(store, driver, shared=False, prefix=prefix)

    def _redis_cache(
        self, store: str, part: Part, prefix: str | None, queue: Redis | None
    ) -> Cache:
        name = part.text("connection", "default")
        found, locks = self._redis(name), self._redis(part.text("lock_connection", name))
        if prefix and self.files.major is not None and self.files.major < 11:
            prefix += ":"
        if found is None or prefix is None or None in (found.database, found.prefix):
            return Cache(store, "redis", shared=False, connection=name, prefix=prefix)
        here = queue is not None and places.same_server(found, queue)
        shared = queue is None or found.prefix == queue.prefix
        if not shared:
            self.files.say(
                "config/cache.php: its Redis has another prefix than the queue's; left out"
            )
        same = (
            locks is not None and places.same_server(found, locks) and found.prefix == locks.prefix
        )
        return Cache(
            store,
            "redis",
            shared,
            connection=name,
            prefix=prefix,
            redis_prefix=found.prefix,
            database=found.database,
            lock_database=locks.database if same and locks is not None else None,
            url=None if here else places.redis_url(found),
        )

    def _database_cache(
        self, store: str, part: Part, prefix: str | None, queue: Database | None
    ) -> Cache:
        name = part.text("connection")
        found = self._with_table(self._database(name), part.text("table", "cache"), "cache")
        locks = part.text("lock_table") or "cache_locks"
        usual = (found.table, found.prefix + locks) == ("cache", "cache_locks")
        if not usual:
            self.files.say(
                f"config/cache.php: its table {found.table!r} has another name; left out"
            )
        return Cache(
            store,
            "database",
            shared=usual and found.url is not None and prefix is not None,
            connection=name,
            prefix=prefix,
            table=found.table,
            lock_table=found.prefix + locks,
            url=None if queue is not None and queue.url == found.url else found.url,
        )

    def _failed(self) -> Failed:
        part = self.files.part("queue", "failed")
        driver = part.text("driver") or "null"
        if "driver" not in part.table.entries and part.table.get("table") is not None:
            driver = "database"
        if driver not in ("database", "database-uuids"):
            if driver != "null":
                self.files.say(
                    f"config/queue.php: failed jobs are kept by the driver {driver!r}, which "
                    "Python does not write; pass failed=… to url()"
                )
            return Failed(driver, None, None)
        if driver == "database":
            self.files.say(
                "config/queue.php: failed jobs are kept by the driver 'database', whose table may "
                "have no uuids; a worker writes as the driver 'database-uuids' does"
            )
        found = self._database(part.text("database"))
        table = self._with_table(found, part.text("table", "failed_jobs"), "failed_jobs").table
        return Failed(driver, found.url, table)

    def _batching(self, failed: Failed) -> Batching:
        part = self.files.part("queue", "batching")
        found = self._database(part.text("database"))
        table = self._with_table(found, part.text("table", "job_batches"), "job_batches").table
        if failed.url and found.url != failed.url:
            self.files.say(
                "config/queue.php: batches are in another database than failed jobs are; a worker "
                "looks for both in that of the failed jobs"
            )
        return Batching(found.url, table)

    def _horizon(self, queue: Redis | None) -> Horizon:
        installed = "laravel/horizon" in self.files.packages
        if not installed:
            return Horizon(installed, None, None, shared=False)
        part = self.files.part("horizon")
        name = part.text("use", "default")
        prefix = part.text("prefix", "horizon:")
        prefix = "horizon:" if prefix == "" else prefix
        if queue is None:
            return Horizon(installed, name, prefix, shared=False)
        found = self._redis(name)
        shared = (
            found is not None
            and places.same_server(found, queue)
            and found.database == queue.database
        )
        if not shared:
            self.files.say(
                f"config/horizon.php: Horizon's Redis connection {name!r} is not in the queue's "
                "Redis database, so Horizon will not show what Python does"
            )
        return Horizon(installed, name, prefix, shared)


def _redis_base(redis: Redis) -> str:
    return "laravel+" + places.redis_url(redis).partition("?")[0]


def _redis_query(project: Project, redis: Redis) -> dict[str, str | None]:
    horizon = project.horizon
    query: dict[str, str | None] = {}
    if redis.scheme == "unix":
        query["db"] = str(redis.database)
    query["prefix"] = redis.prefix
    query |= _queue_query(project)
    if redis.cluster and _braces(project.laravel_version):
        query["cluster"] = "1"
    query |= _cache_query(project)
    if horizon.installed and horizon.shared:
        query["horizon"] = horizon.prefix
    return query


def _major(version: str | None) -> int:
    """The version by which keys are named."""
    number = re.match(r"\d{1,6}", version or "")
    if number is None:
        return naming.USUAL
    return min(max(int(number[0]), naming.OLDEST), naming.NEWEST)


def _braces(version: str | None) -> bool:
    """Whether this Laravel puts braces around the names of queues on a cluster: since 13.5."""
    numbers = [int(number) for number in re.findall(r"\d{1,6}", version or "99")[:2]]
    return numbers >= [13, 5] or numbers == [13]


def _queue_query(project: Project) -> dict[str, str | None]:
    retry_after = project.retry_after
    version = _major(project.laravel_version)
    query: dict[str, str | None] = {
        "laravel": None if version == naming.USUAL else str(version),
        "queues": project.queue,
        "retry_after": None if retry_after is None else str(retry_after),
        "connection": project.connection,
    }
    if project.queue != "default":
        query["queue"] = project.queue
    if project.failed.url and project.failed.url != (project.database and project.database.url):
        query["failed"] = project.failed.url
    for name, table, usual in (
        ("failed_table", project.failed.table, "failed_jobs"),
        ("batches_table", project.batching.table, "job_batches"),
    ):
        query[name] = table if project.failed.url and table != usual else None
    return query


def _cache_query(project: Project) -> dict[str, str | None]:
    """Where the cache is; "none" for one that is out of reach, or not known."""
    cache = project.cache
    if not cache.shared:
        return {"cache": "none"}
    number = None if cache.url or cache.database is None else str(cache.database)
    locks = None if cache.lock_database is None else str(cache.lock_database)
    return {
        "cache": cache.url,
        "cache_prefix": cache.prefix,
        "cache_db": number,
        "lock_db": locks,
    }


def _database_base(project: Project) -> str:
    database = project.database
    assert database is not None
    if database.url is None:
        raise ValueError(
            f"the queue connection {project.connection!r} is kept by the database driver "
            f"{database.driver!r}; Python serves sqlite (in a file), mysql, mariadb and pgsql"
        )
    return "laravel+" + database.url.partition("?")[0]


def _database_query(project: Project) -> dict[str, str | None]:
    database, cache = project.database, project.cache
    assert database is not None
    own = (database.url or "").partition("?")[2]
    query: dict[str, str | None] = dict(parse_qsl(own))
    table = {"table": database.table if database.table != "jobs" else None}
    query = query | table | _queue_query(project) | _cache_query(project)
    if cache.shared and cache.driver == "redis":
        query["prefix"] = cache.redis_prefix
    return query


def _database_url(driver: str | None, server: Part, root: str) -> str | None:
    """The URL of a database; None for one that Python does not reach, or that is not known."""
    name = server.text("database")
    if not name or driver is None:
        return None
    if driver == "sqlite":
        if name == ":memory:" or name.startswith("file:") or "mode=memory" in name:
            return None
        return "sqlite:///" + quote(os.path.normpath(os.path.join(root, name)))
    if driver not in _SCHEMES:
        return None
    host, port = server.text("host", "127.0.0.1"), server.number("port", _PORTS[driver])
    login = places.login(*server.login())
    extra: dict[str, str | None] = {"unix_socket": server.text("unix_socket")}
    if driver == "pgsql":
        extra["sslmode"] = server.text("sslmode")
        schema = server.text("search_path") or server.text("schema")
        if schema and schema != "public":
            extra["options"] = f"-csearch_path={schema}"
    if server.hides(*_IN_DATABASE_URL):
        return None
    given = {key: value for key, value in extra.items() if value and value != "prefer"}
    options = f"?{urlencode(given, quote_via=quote, safe=',:/')}" if given else ""
    server_part = f"{login}{places.hosted(host, port)}"
    return f"{_SCHEMES[driver]}://{server_part}/{quote(name, safe='')}{options}"


def _address(server: Part) -> tuple[str | None, str, str | None]:
    """Host, scheme and Unix socket of a Redis server."""
    host = server.text("host", "127.0.0.1")
    scheme = (server.text("scheme") or server.text("driver") or "").lower()
    if host and "://" in host:
        scheme, _, host = host.partition("://")
    if scheme == "unix":
        return None, "unix", server.text("path", host)
    if host and host.startswith("/"):
        return None, "unix", host
    if host and host.startswith("["):
        host = host.strip("[]")
    return host, "rediss" if scheme.lower() in _TLS else "redis", None
