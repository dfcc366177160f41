<?php
// PHP that answers questions, one JSON line each way, so that a test pays PHP's start only once:
//
//   {"ask": "unserialize", "with": ["i:5;"]}  →  {"answer": 5} or {"fault": "Class: message"}
//
// Values are as plainly.php has them; serialized texts always come as {"@bytes": hex}.

require __DIR__.'/bootstrap.php';
require __DIR__.'/jobs.php';

use Illuminate\Database\Schema\Blueprint;

const AS_THEY_ARE = JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES | JSON_PRESERVE_ZERO_FRACTION;

class Raw  // bytes, told as such even where they are text
{
    public function __construct(public string $bytes) {}
}

set_error_handler(function ($level, $message, $file, $line) {
    if (! (error_reporting() & $level)) {
        return false;
    }
    throw new ErrorException($message, 0, $level, $file, $line);
});
$app = boot();
$queue = fn () => $app['queue']->connection();

$questions = [
    // PHP's serialize format
    'unserialize' => fn ($text) => unserialize($text),
    'serialize' => fn ($value) => new Raw(serialize($value)),
    'reserialize' => fn ($text) => new Raw(serialize(unserialize($text))),

    // Laravel's encrypt() and decrypt(), by APP_KEY
    'encrypt' => fn ($value, $serialize = true) => $app['encrypter']->encrypt($value, $serialize),
    'decrypt' => fn ($token, $unserialize = true) => $app['encrypter']->decrypt($token, $unserialize),

    // queues
    'push' => fn ($class, $given = [], $name = null) => $queue()->push(new ("App\\Jobs\\$class")(...$given), '', $name),
    'push_raw' => fn ($payload, $name = null) => $queue()->pushRaw($payload, $name),
    'later' => fn ($seconds, $class, $given = [], $name = null) => $queue()->later($seconds, new ("App\\Jobs\\$class")(...$given), '', $name),
    'size' => fn ($name = null) => $queue()->size($name),
    'clear' => fn ($name = 'default') => $queue()->clear($name),
    'pop' => function ($name = null) use ($queue) {
        $job = $queue()->pop($name);

        return $job ? ['body' => $job->getRawBody(), 'reserved' => method_exists($job, 'getReservedJob') ? $job->getReservedJob() : null, 'attempts' => $job->attempts()] : null;
    },

    // the cache: values, locks
    'cached' => fn ($key) => $app['cache.store']->get($key),
    'cache' => fn ($key, $value, $seconds = null) => $app['cache.store']->put($key, $value, $seconds),
    'lock' => fn ($key, $seconds = 60, $owner = null) => $app['cache.store']->lock($key, $seconds, $owner)->get(),
    'locked' => function ($key) use ($app) {
        $lock = $app['cache.store']->lock($key, 1);
        $free = $lock->get();
        $lock->release();

        return ! $free;
    },

    // tables
    'rows' => fn ($table) => array_map(fn ($row) => (array) $row, $app['db']->table($table)->get()->all()),
    'failed' => fn () => array_map(fn ($row) => (array) $row, $app['queue.failer']->all()),
    'batch' => function ($id) use ($app) {
        $batch = $app['batches']->find($id);

        return $batch ? ['options' => array_keys($batch->options)] + json_decode(json_encode($batch->toArray()), true) : null;
    },
    'schema' => fn ($dialect) => schema($dialect),

    'evaluate' => fn ($code) => eval($code),
];

/** The statements by which Laravel's migrations make its tables in this dialect. */
function schema(string $dialect): array
{
    [$connection, $grammar] = [
        'sqlite' => [Illuminate\Database\SQLiteConnection::class, Illuminate\Database\Schema\Grammars\SQLiteGrammar::class],
        'pgsql' => [Illuminate\Database\PostgresConnection::class, Illuminate\Database\Schema\Grammars\PostgresGrammar::class],
        'mysql' => [Illuminate\Database\MySqlConnection::class, Illuminate\Database\Schema\Grammars\MySqlGrammar::class],
    ][$dialect];
    $connection = new $connection(fn () => null, '', '', ['charset' => 'utf8mb4', 'collation' => 'utf8mb4_unicode_ci']);
    $statements = [];
    foreach (tables() as $name => $columns) {
        $table = new Blueprint($name, fn ($table) => [$table->create(), $columns($table)]);
        array_push($statements, ...$table->toSql($connection, new $grammar));
    }

    return $statements;
}

while (($line = fgets(STDIN)) !== false) {
    try {
        $asked = json_decode($line, true, 1 << 16, JSON_THROW_ON_ERROR);
        $given = array_map('from_plain', $asked['with']);
        $answer = $questions[$asked['ask']](...$given);
        $reply = json_encode(
            ['answer' => $answer instanceof Raw ? ['@bytes' => bin2hex($answer->bytes)] : plainly($answer)], AS_THEY_ARE, 1 << 16
        );
    } catch (Throwable $e) {
        $reply = json_encode(['fault' => get_class($e).': '.$e->getMessage()], JSON_INVALID_UTF8_SUBSTITUTE);
    }
    fwrite(STDOUT, "$reply\n");
}
