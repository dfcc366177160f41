"""Defaults: the configuration of Laravel 8 to 13 where a project has no file of its own. Pure.

Written as PHP, as that is what Laravel's own files are and what a project's file would say.
"""

APP = """<?php return [
    'name' => env('APP_NAME', 'Laravel'),
    'key' => env('APP_KEY'),
    'cipher' => 'AES-256-CBC',
    'previous_keys' => [...array_filter(explode(',', (string) env('APP_PREVIOUS_KEYS', '')))],
];"""

HORIZON = """<?php return [
    'use' => 'default',
    'prefix' => env('HORIZON_PREFIX', Str::slug(env('APP_NAME', 'laravel'), '_').'_horizon:'),
];"""

_QUEUE = """<?php return [
    'default' => env('QUEUE_CONNECTION', 'sync'),
    'connections' => [
        'sync' => ['driver' => 'sync'],
        'database' => [
            'driver' => 'database', 'table' => 'jobs', 'queue' => 'default', 'retry_after' => 90,
            'after_commit' => false,
        ],
        'beanstalkd' => ['driver' => 'beanstalkd', 'queue' => 'default'],
        'sqs' => ['driver' => 'sqs', 'queue' => env('SQS_QUEUE', 'default')],
        'redis' => [
            'driver' => 'redis', 'connection' => 'default',
            'queue' => env('REDIS_QUEUE', 'default'), 'retry_after' => 90, 'block_for' => null,
            'after_commit' => false,
        ],
    ],
    'batching' => ['database' => env('DB_CONNECTION', 'mysql'), 'table' => 'job_batches'],
    'failed' => [
        'driver' => env('QUEUE_FAILED_DRIVER', 'database-uuids'),
        'database' => env('DB_CONNECTION', 'mysql'), 'table' => 'failed_jobs',
    ],
];"""

_QUEUE_11 = """<?php return [
    'default' => env('QUEUE_CONNECTION', 'database'),
    'connections' => [
        'sync' => ['driver' => 'sync'],
        'database' => [
            'driver' => 'database', 'connection' => env('DB_QUEUE_CONNECTION'),
            'table' => env('DB_QUEUE_TABLE', 'jobs'), 'queue' => env('DB_QUEUE', 'default'),
            'retry_after' => (int) env('DB_QUEUE_RETRY_AFTER', 90), 'after_commit' => false,
        ],
        'beanstalkd' => [
            'driver' => 'beanstalkd', 'queue' => env('BEANSTALKD_QUEUE', 'default'),
        ],
        'sqs' => ['driver' => 'sqs', 'queue' => env('SQS_QUEUE', 'default')],
        'redis' => [
            'driver' => 'redis', 'connection' => env('REDIS_QUEUE_CONNECTION', 'default'),
            'queue' => env('REDIS_QUEUE', 'default'),
            'retry_after' => (int) env('REDIS_QUEUE_RETRY_AFTER', 90), 'block_for' => null,
            'after_commit' => false,
        ],
    ],
    'batching' => ['database' => env('DB_CONNECTION', 'sqlite'), 'table' => 'job_batches'],
    'failed' => [
        'driver' => env('QUEUE_FAILED_DRIVER', 'database-uuids'),
        'database' => env('DB_CONNECTION', 'sqlite'), 'table' => 'failed_jobs',
    ],
];"""

_DATABASE = """<?php return [
    'default' => env('DB_CONNECTION', '@DRIVER@'),
    'connections' => [
        'sqlite' => [
            'driver' => 'sqlite', 'url' => env('@URL@'),
            'database' => env('DB_DATABASE', database_path('database.sqlite')), 'prefix' => '',
        ],
        'mysql' => ['driver' => 'mysql', 'port' => env('DB_PORT', '3306')] + @SERVER@,
        'mariadb' => ['driver' => 'mariadb', 'port' => env('DB_PORT', '3306')] + @SERVER@,
        'pgsql' => ['driver' => 'pgsql', 'port' => env('DB_PORT', '5432')] + @SERVER@,
        'sqlsrv' => ['driver' => 'sqlsrv', 'port' => env('DB_PORT', '1433')] + @SERVER@,
    ],
    'redis' => [
        'client' => env('REDIS_CLIENT', 'phpredis'),
        'options' => ['prefix' => env('REDIS_PREFIX', @PREFIX@)],
        'default' => @REDIS@ + ['database' => env('REDIS_DB', '0')],
        'cache' => @REDIS@ + ['database' => env('REDIS_CACHE_DB', '1')],
    ],
];"""

_SERVER = """[
    'url' => env('@URL@'), 'host' => env('DB_HOST', '127.0.0.1'),
    'database' => env('DB_DATABASE', '@NAME@'), 'username' => env('DB_USERNAME', '@USER@'),
    'password' => env('DB_PASSWORD', ''), 'unix_socket' => env('DB_SOCKET', ''), 'prefix' => '',
]"""

_REDIS = """[
    'url' => env('REDIS_URL'), 'host' => env('REDIS_HOST', '127.0.0.1'),
    'username' => env('REDIS_USERNAME'), 'password' => env('REDIS_PASSWORD'),
    'port' => env('REDIS_PORT', '6379'),
]"""

_CACHE = """<?php return [
    'default' => env('@STORE@', '@DRIVER@'),
    'stores' => [
        'array' => ['driver' => 'array'],
        'database' => [
            'driver' => 'database', 'connection' => env('DB_CACHE_CONNECTION'),
            'table' => env('DB_CACHE_TABLE', 'cache'),
            'lock_connection' => env('DB_CACHE_LOCK_CONNECTION'),
            'lock_table' => env('DB_CACHE_LOCK_TABLE'),
        ],
        'file' => ['driver' => 'file'],
        'memcached' => ['driver' => 'memcached'],
        'redis' => [
            'driver' => 'redis', 'connection' => env('REDIS_CACHE_CONNECTION', 'cache'),
            'lock_connection' => env('REDIS_CACHE_LOCK_CONNECTION', 'default'),
        ],
        'dynamodb' => ['driver' => 'dynamodb'],
        'octane' => ['driver' => 'octane'],
    ],
    'prefix' => env('CACHE_PREFIX', @PREFIX@),
];"""


def source(name: str, major: int | None) -> str:
    """The PHP source of Laravel's own `config/{name}.php` in a major version.

    None: what the newest has, but for the prefixes of keys, which cannot be known then.
    """
    if name == "app":
        return APP
    if name == "horizon":
        return HORIZON
    if name == "queue":
        return _QUEUE if major and major < 11 else _QUEUE_11
    new = major is None or major >= 11
    if name == "cache":
        named = {"STORE": "CACHE_STORE", "DRIVER": "database"}
        named = named if new else {"STORE": "CACHE_DRIVER", "DRIVER": "file"}
        return _filled(_CACHE, named | {"PREFIX": _prefix("cache", major)})
    server = {"URL": "DB_URL", "NAME": "laravel", "USER": "root", "DRIVER": "sqlite"}
    if not new:
        server = {"URL": "DATABASE_URL", "NAME": "forge", "USER": "forge", "DRIVER": "mysql"}
    redis = {"PREFIX": _prefix("database", major), "REDIS": _REDIS, "SERVER": _SERVER}
    return _filled(_filled(_DATABASE, redis), server)


def _prefix(what: str, major: int | None) -> str:
    if major is None:
        return "prefix_by_the_version_of_laravel()"
    if major >= 13:
        return f"Str::slug((string) env('APP_NAME', 'laravel')).'-{what}-'"
    end = "_" if what == "database" or major >= 9 else ""
    return f"Str::slug(env('APP_NAME', 'laravel'), '_').'_{what}{end}'"


def _filled(template: str, named: dict[str, str]) -> str:
    for name, text in named.items():
        template = template.replace(f"@{name}@", text)
    return template
