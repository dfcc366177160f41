"""Laravel projects for tests: the files that a new application of each version has, in their shape.

Only what a queue's configuration is made of, and enough beside it to be read over.
"""

import json

_APP = """<?php

use Illuminate\\Support\\Facades\\Facade;
use Illuminate\\Support\\ServiceProvider;

return [

    /*
    |--------------------------------------------------------------------------
    | Application Name
    |--------------------------------------------------------------------------
    |
    | It's the name of "your" application; don't be afraid of [brackets] in here.
    |
    */

    'name' => env('APP_NAME', 'Laravel'),

    'debug' => (bool) env('APP_DEBUG', false),

    'asset_url' => env('ASSET_URL'),

    'key' => env('APP_KEY'),

    'cipher' => 'AES-256-CBC',
@KEYS@
    'maintenance' => [
        'driver' => 'file',
        // 'store'  => 'redis',
    ],

    'providers' => ServiceProvider::defaultProviders()->merge([
        App\\Providers\\AppServiceProvider::class,
        // App\\Providers\\BroadcastServiceProvider::class,
    ])->toArray(),

    'aliases' => Facade::defaultAliases()->merge([
        // 'Example' => App\\Facades\\Example::class,
    ])->toArray(),

];
"""

_PREVIOUS_KEYS = """
    'previous_keys' => [
        ...array_filter(
            explode(',', (string) env('APP_PREVIOUS_KEYS', ''))
        ),
    ],
"""

_QUEUE = """<?php

return [

    'default' => env('QUEUE_CONNECTION', 'sync'),

    'connections' => [

        'sync' => [
            'driver' => 'sync',
        ],

        'database' => [
            'driver' => 'database',
            'table' => 'jobs',
            'queue' => 'default',
            'retry_after' => 90,
            'after_commit' => false,
        ],

        'beanstalkd' => [
            'driver' => 'beanstalkd',
            'host' => 'localhost',
            'queue' => 'default',
            'retry_after' => 90,
            'block_for' => 0,
        ],

        'sqs' => [
            'driver' => 'sqs',
            'key' => env('AWS_ACCESS_KEY_ID'),
            'secret' => env('AWS_SECRET_ACCESS_KEY'),
            'prefix' => env('SQS_PREFIX', 'https://sqs.us-east-1.amazonaws.com/your-account-id'),
            'queue' => env('SQS_QUEUE', 'default'),
        ],

        'redis' => [
            'driver' => 'redis',
            'connection' => 'default',
            'queue' => env('REDIS_QUEUE', 'default'),
            'retry_after' => 90,
            'block_for' => null,
            'after_commit' => false,
        ],

    ],
@BATCHING@
    'failed' => [
        'driver' => env('QUEUE_FAILED_DRIVER', 'database-uuids'),
        'database' => env('DB_CONNECTION', 'mysql'),
        'table' => 'failed_jobs',
    ],

];
"""

_BATCHING = """
    'batching' => [
        'database' => env('DB_CONNECTION', 'mysql'),
        'table' => 'job_batches',
    ],
"""

_QUEUE_11 = """<?php

return [

    'default' => env('QUEUE_CONNECTION', 'database'),

    'connections' => [

        'sync' => [
            'driver' => 'sync',
        ],

        'database' => [
            'driver' => 'database',
            'connection' => env('DB_QUEUE_CONNECTION'),
            'table' => env('DB_QUEUE_TABLE', 'jobs'),
            'queue' => env('DB_QUEUE', 'default'),
            'retry_after' => (int) env('DB_QUEUE_RETRY_AFTER', 90),
            'after_commit' => false,
        ],

        'beanstalkd' => [
            'driver' => 'beanstalkd',
            'queue' => env('BEANSTALKD_QUEUE', 'default'),
        ],

        'sqs' => [
            'driver' => 'sqs',
            'queue' => env('SQS_QUEUE', 'default'),
        ],

        'redis' => [
            'driver' => 'redis',
            'connection' => env('REDIS_QUEUE_CONNECTION', 'default'),
            'queue' => env('REDIS_QUEUE', 'default'),
            'retry_after' => (int) env('REDIS_QUEUE_RETRY_AFTER', 90),
            'block_for' => null,
            'after_commit' => false,
        ],

        'failover' => [
            'driver' => 'failover',
            'connections' => [
                'database',
                'deferred',
            ],
        ],

    ],

    'batching' => [
        'database' => env('DB_CONNECTION', 'sqlite'),
        'table' => 'job_batches',
    ],

    'failed' => [
        'driver' => env('QUEUE_FAILED_DRIVER', 'database-uuids'),
        'database' => env('DB_CONNECTION', 'sqlite'),
        'table' => 'failed_jobs',
    ],

];
"""

_DATABASE = """<?php

use Illuminate\\Support\\Str;

return [

    'default' => env('DB_CONNECTION', '@DEFAULT@'),

    'connections' => [

        'sqlite' => [
            'driver' => 'sqlite',
            'url' => env('@URL@'),
            'database' => env('DB_DATABASE', database_path('database.sqlite')),
            'prefix' => '',
            'foreign_key_constraints' => env('DB_FOREIGN_KEYS', true),
        ],

        'mysql' => [
            'driver' => 'mysql',
            'url' => env('@URL@'),
            'host' => env('DB_HOST', '127.0.0.1'),
            'port' => env('DB_PORT', '3306'),
            'database' => env('DB_DATABASE', '@NAME@'),
            'username' => env('DB_USERNAME', '@USER@'),
            'password' => env('DB_PASSWORD', ''),
            'unix_socket' => env('DB_SOCKET', ''),
            'charset' => 'utf8mb4',
            'prefix' => '',
            'prefix_indexes' => true,
            'strict' => true,
            'engine' => null,
            'options' => extension_loaded('pdo_mysql') ? array_filter([
                (PHP_VERSION_ID >= 80500 ? \\Pdo\\Mysql::ATTR_SSL_CA : \\PDO::MYSQL_ATTR_SSL_CA)
                    => env('MYSQL_ATTR_SSL_CA'),
            ]) : [],
        ],

        'pgsql' => [
            'driver' => 'pgsql',
            'url' => env('@URL@'),
            'host' => env('DB_HOST', '127.0.0.1'),
            'port' => env('DB_PORT', '5432'),
            'database' => env('DB_DATABASE', '@NAME@'),
            'username' => env('DB_USERNAME', '@USER@'),
            'password' => env('DB_PASSWORD', ''),
            'charset' => 'utf8',
            'prefix' => '',
            'prefix_indexes' => true,
            'search_path' => 'public',
            'sslmode' => 'prefer',
        ],

        'sqlsrv' => [
            'driver' => 'sqlsrv',
            'host' => env('DB_HOST', 'localhost'),
            'database' => env('DB_DATABASE', '@NAME@'),
            // 'encrypt' => env('DB_ENCRYPT', 'yes'),
        ],

    ],

    'migrations' => 'migrations',

    'redis' => [

        'client' => env('REDIS_CLIENT', 'phpredis'),

        'options' => [
            'cluster' => env('REDIS_CLUSTER', 'redis'),
            'prefix' => env('REDIS_PREFIX', @PREFIX@),
        ],

        'default' => [
            'url' => env('REDIS_URL'),
            'host' => env('REDIS_HOST', '127.0.0.1'),
            'username' => env('REDIS_USERNAME'),
            'password' => env('REDIS_PASSWORD'),
            'port' => env('REDIS_PORT', '6379'),
            'database' => env('REDIS_DB', '0'),
        ],

        'cache' => [
            'url' => env('REDIS_URL'),
            'host' => env('REDIS_HOST', '127.0.0.1'),
            'username' => env('REDIS_USERNAME'),
            'password' => env('REDIS_PASSWORD'),
            'port' => env('REDIS_PORT', '6379'),
            'database' => env('REDIS_CACHE_DB', '1'),
        ],

    ],

];
"""

_CACHE = """<?php

use Illuminate\\Support\\Str;

return [

    'default' => env('@STORE@', '@DEFAULT@'),

    'stores' => [

        'array' => [
            'driver' => 'array',
            'serialize' => false,
        ],

        'database' => [
            'driver' => 'database',
            'table' => 'cache',
            'connection' => null,
            'lock_connection' => null,
        ],

        'file' => [
            'driver' => 'file',
            'path' => storage_path('framework/cache/data'),
        ],

        'memcached' => [
            'driver' => 'memcached',
            'options' => [
                // Memcached::OPT_CONNECT_TIMEOUT => 2000,
            ],
        ],

        'redis' => [
            'driver' => 'redis',
            'connection' => 'cache',
            'lock_connection' => 'default',
        ],

    ],

    'prefix' => env('CACHE_PREFIX', @PREFIX@),

];
"""

_HORIZON = """<?php

use Illuminate\\Support\\Str;

return [

    'domain' => env('HORIZON_DOMAIN'),

    'use' => 'default',

    'prefix' => env(
        'HORIZON_PREFIX',
        Str::slug(env('APP_NAME', 'laravel'), '_').'_horizon:'
    ),

    'trim' => [
        'recent' => 60,
    ],

];
"""

_ENV = """APP_NAME="My Shop"
APP_ENV=local
APP_KEY=base64:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=
APP_DEBUG=true

QUEUE_CONNECTION=@QUEUE@
"""


def files(version, queue="redis", horizon=False):
    """The files of a new application: their text by path, for `written`."""
    major = int(version.split(".")[0])
    new = major >= 11
    packages = [{"name": "laravel/framework", "version": f"v{version}"}]
    if horizon:
        packages.append({"name": "laravel/horizon", "version": "v5.29.1"})
    names = {"DEFAULT": "sqlite", "URL": "DB_URL", "NAME": "laravel", "USER": "root"}
    if not new:
        names = {"DEFAULT": "mysql", "URL": "DATABASE_URL", "NAME": "forge", "USER": "forge"}
    store = {"STORE": "CACHE_STORE", "DEFAULT": "database"}
    store = store if new else {"STORE": "CACHE_DRIVER", "DEFAULT": "file"}
    found = {
        "artisan": "#!/usr/bin/env php\n",
        "composer.json": json.dumps({"require": {"laravel/framework": f"^{major}.0"}}),
        "composer.lock": json.dumps({"packages": packages, "packages-dev": []}),
        ".env": _filled(_ENV, QUEUE=queue),
        "config/app.php": _filled(_APP, KEYS=_PREVIOUS_KEYS if new else ""),
        "config/queue.php": _QUEUE_11 if new else _filled(_QUEUE, BATCHING=_BATCHING * (major > 9)),
        "config/database.php": _filled(_DATABASE, PREFIX=_prefix(major, "database"), **names),
        "config/cache.php": _filled(_CACHE, PREFIX=_prefix(major, "cache"), **store),
    }
    if horizon:
        found["config/horizon.php"] = _HORIZON
    return found


def written(root, files):
    """The project at `root`, which gets these files."""
    for path, text in files.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    return root


def _prefix(major, what):
    if major >= 13:
        return f"Str::slug((string) env('APP_NAME', 'laravel')).'-{what}-'"
    end = "" if (major, what) == (8, "cache") else "_"
    return f"Str::slug(env('APP_NAME', 'laravel'), '_').'_{what}{end}'"


def _filled(text, **names):
    for name, value in names.items():
        text = text.replace(f"@{name}@", value)
    return text
