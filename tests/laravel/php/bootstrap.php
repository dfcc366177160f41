<?php
// A Laravel without an application: the container, its config from the environment, the services
// that queues use, and Laravel's own artisan commands.
//
// REDIS_PORT (6379)  REDIS_PREFIX (laravel_database_)  CACHE_PREFIX (laravel_cache_)
// QUEUE_CONNECTION redis | database   RETRY_AFTER (90)   BLOCK_FOR (null)
// DB_CONNECTION sqlite | pgsql | mysql   DB_FILE (sqlite)   DB_PORT DB_DATABASE DB_USERNAME DB_PASSWORD
// APP_KEY (base64:…)   CIPHER (AES-256-CBC)

require __DIR__.'/autoload.php';
require __DIR__.'/plainly.php';

use Illuminate\Container\Container;

const APP_KEY = 'base64:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=';

class App extends Container
{
    public function environment(...$names) { return 'production'; }
    public function isProduction() { return true; }
    public function runningUnitTests() { return false; }
    public function runningInConsole() { return true; }
    public function isDownForMaintenance() { return false; }
    public function getNamespace() { return 'App\\'; }
    public function terminating($callback) { return $this; }
}

class Reporter implements Illuminate\Contracts\Debug\ExceptionHandler
{
    public function report(Throwable $e) { fwrite(STDERR, get_class($e).': '.$e->getMessage()."\n"); }
    public function shouldReport(Throwable $e) { return true; }
    public function render($request, Throwable $e) {}
    public function renderForConsole($output, Throwable $e) { fwrite(STDERR, "$e\n"); }
}

/** One JSON line on standard output, in one write. */
function say(string $event, array $fields = []): void
{
    fwrite(STDOUT, json_encode(
        ['event' => $event] + $fields,
        JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES | JSON_PRESERVE_ZERO_FRACTION,
        1 << 16
    )."\n");
}

function env_or(string $name, $default)
{
    $value = getenv($name);

    return $value === false ? $default : $value;
}

function app_key(): string
{
    return base64_decode(substr(env_or('APP_KEY', APP_KEY), strlen('base64:')));
}

function settings(): array
{
    $redis = ['host' => '127.0.0.1', 'port' => (int) env_or('REDIS_PORT', 6379), 'database' => 0];
    $database = env_or('DB_CONNECTION', 'sqlite');
    $server = [
        'host' => '127.0.0.1', 'port' => (int) env_or('DB_PORT', 0), 'prefix' => '',
        'database' => env_or('DB_DATABASE', ''), 'username' => env_or('DB_USERNAME', ''),
        'password' => env_or('DB_PASSWORD', ''),
    ];
    $retry_after = (int) env_or('RETRY_AFTER', 90);
    $block_for = env_or('BLOCK_FOR', null);

    return [
        'app' => ['name' => 'Laravel', 'key' => env_or('APP_KEY', APP_KEY), 'cipher' => env_or('CIPHER', 'AES-256-CBC')],
        'database' => [
            'default' => $database,
            'connections' => [
                'sqlite' => ['driver' => 'sqlite', 'database' => env_or('DB_FILE', ':memory:'), 'prefix' => ''],
                'pgsql' => ['driver' => 'pgsql', 'charset' => 'utf8', 'schema' => 'public'] + $server,
                'mysql' => ['driver' => 'mysql', 'charset' => 'utf8mb4', 'collation' => 'utf8mb4_unicode_ci', 'strict' => true] + $server,
            ],
            'redis' => [
                'client' => 'phpredis',
                'options' => ['prefix' => env_or('REDIS_PREFIX', 'laravel_database_')],
                'default' => $redis,
                'cache' => $redis,
            ],
        ],
        'cache' => [
            'default' => 'redis',
            'prefix' => env_or('CACHE_PREFIX', 'laravel_cache_'),
            'stores' => ['redis' => ['driver' => 'redis', 'connection' => 'cache', 'lock_connection' => 'default']],
        ],
        'queue' => [
            'default' => env_or('QUEUE_CONNECTION', 'redis'),
            'connections' => [
                'sync' => ['driver' => 'sync'],
                'redis' => [
                    'driver' => 'redis', 'connection' => 'default', 'queue' => 'default', 'after_commit' => false,
                    'retry_after' => $retry_after, 'block_for' => $block_for === null ? null : (int) $block_for,
                ],
                'database' => [
                    'driver' => 'database', 'connection' => $database, 'table' => 'jobs', 'queue' => 'default',
                    'after_commit' => false, 'retry_after' => $retry_after,
                ],
            ],
            'batching' => ['database' => $database, 'table' => 'job_batches'],
            'failed' => ['driver' => 'database-uuids', 'database' => $database, 'table' => 'failed_jobs'],
        ],
    ];
}

function boot(): App
{
    $app = new App;
    Container::setInstance($app);
    Illuminate\Support\Facades\Facade::setFacadeApplication($app);
    $services = [
        'app' => [fn () => $app, Container::class, Illuminate\Contracts\Container\Container::class],
        'config' => [fn () => new Illuminate\Config\Repository(settings())],
        'events' => [
            fn () => (new Illuminate\Events\Dispatcher($app))->setQueueResolver(fn () => $app['queue']),
            Illuminate\Events\Dispatcher::class, Illuminate\Contracts\Events\Dispatcher::class,
        ],
        'redis' => [
            fn () => new Illuminate\Redis\RedisManager($app, 'phpredis', $app['config']['database.redis']),
            Illuminate\Redis\RedisManager::class, Illuminate\Contracts\Redis\Factory::class,
        ],
        'db.factory' => [fn () => new Illuminate\Database\Connectors\ConnectionFactory($app)],
        'db' => [
            fn () => new Illuminate\Database\DatabaseManager($app, $app['db.factory']),
            Illuminate\Database\ConnectionResolverInterface::class,
        ],
        'db.transactions' => [fn () => new Illuminate\Database\DatabaseTransactionsManager],
        'cache' => [fn () => new Illuminate\Cache\CacheManager($app), Illuminate\Contracts\Cache\Factory::class],
        'cache.store' => [
            fn () => $app['cache']->driver(),
            Illuminate\Cache\Repository::class, Illuminate\Contracts\Cache\Repository::class,
        ],
        'encrypter' => [
            fn () => new Illuminate\Encryption\Encrypter(app_key(), $app['config']['app.cipher']),
            Illuminate\Encryption\Encrypter::class, Illuminate\Contracts\Encryption\Encrypter::class,
        ],
        'limiter' => [fn () => new Illuminate\Cache\RateLimiter($app['cache.store']), Illuminate\Cache\RateLimiter::class],
        'reporter' => [fn () => new Reporter, Illuminate\Contracts\Debug\ExceptionHandler::class],
        'queue' => [
            function () use ($app) {
                $queues = new Illuminate\Queue\QueueManager($app);
                (new Illuminate\Queue\QueueServiceProvider($app))->registerConnectors($queues);

                return $queues;
            },
            Illuminate\Queue\QueueManager::class, Illuminate\Contracts\Queue\Factory::class,
        ],
        'batches' => [
            fn () => new Illuminate\Bus\DatabaseBatchRepository(
                new Illuminate\Bus\BatchFactory($app['queue']), $app['db']->connection(), 'job_batches'
            ),
            Illuminate\Bus\BatchRepository::class,
        ],
        'bus' => [
            fn () => new Illuminate\Bus\Dispatcher($app, fn ($name = null) => $app['queue']->connection($name)),
            Illuminate\Bus\Dispatcher::class, Illuminate\Contracts\Bus\Dispatcher::class,
            Illuminate\Contracts\Bus\QueueingDispatcher::class,
        ],
        'queue.failer' => [
            fn () => new Illuminate\Queue\Failed\DatabaseUuidFailedJobProvider(
                $app['db'], $app['config']['queue.failed.database'], 'failed_jobs'
            ),
        ],
        'queue.worker' => [
            fn () => new Illuminate\Queue\Worker($app['queue'], $app['events'], $app['reporter'], fn () => false),
            Illuminate\Queue\Worker::class,
        ],
    ];
    foreach ($services as $name => $service) {
        $app->singleton($name, array_shift($service));
        foreach ($service as $class) {
            $app->alias($name, $class);
        }
    }
    Illuminate\Database\Eloquent\Model::setConnectionResolver($app['db']);
    Laravel\SerializableClosure\SerializableClosure::setSecretKey(app_key());

    return $app;
}

/** Laravel's artisan, with the commands about queues. */
function artisan(App $app): Illuminate\Console\Application
{
    $artisan = new Illuminate\Console\Application($app, $app['events'], '8.83');
    $artisan->resolveCommands([
        Illuminate\Queue\Console\WorkCommand::class,
        Illuminate\Queue\Console\RestartCommand::class,
        Illuminate\Queue\Console\RetryCommand::class,
        Illuminate\Queue\Console\RetryBatchCommand::class,
        Illuminate\Queue\Console\ListFailedCommand::class,
        Illuminate\Queue\Console\ForgetFailedCommand::class,
        Illuminate\Queue\Console\FlushFailedCommand::class,
        Illuminate\Queue\Console\ClearCommand::class,
        Illuminate\Queue\Console\MonitorCommand::class,
        Illuminate\Queue\Console\PruneBatchesCommand::class,
    ]);

    return $artisan;
}

/** The tables of Laravel's own migrations for queues, and one of a model. */
function tables(): array
{
    return [
        'jobs' => function ($table) {
            $table->bigIncrements('id');
            $table->string('queue')->index();
            $table->longText('payload');
            $table->unsignedTinyInteger('attempts');
            $table->unsignedInteger('reserved_at')->nullable();
            $table->unsignedInteger('available_at');
            $table->unsignedInteger('created_at');
        },
        'failed_jobs' => function ($table) {
            $table->id();
            $table->string('uuid')->unique();
            $table->text('connection');
            $table->text('queue');
            $table->longText('payload');
            $table->longText('exception');
            $table->timestamp('failed_at')->useCurrent();
        },
        'job_batches' => function ($table) {
            $table->string('id')->primary();
            $table->string('name');
            $table->integer('total_jobs');
            $table->integer('pending_jobs');
            $table->integer('failed_jobs');
            $table->text('failed_job_ids');
            $table->mediumText('options')->nullable();
            $table->integer('cancelled_at')->nullable();
            $table->integer('created_at');
            $table->integer('finished_at')->nullable();
        },
        'invoices' => function ($table) {
            $table->id();
            $table->string('number');
        },
    ];
}

function migrate(App $app): void
{
    $schema = $app['db']->connection()->getSchemaBuilder();
    foreach (tables() as $name => $columns) {
        $schema->dropIfExists($name);
        $schema->create($name, $columns);
    }
}
