<?php
// php dispatch.php CASE [argument …]: what a Laravel application does when it dispatches. QUEUE names the
// queue (default). Says what was done as one JSON line.

require __DIR__.'/bootstrap.php';
require __DIR__.'/jobs.php';

use Illuminate\Bus\Batch;
use Illuminate\Foundation\Bus\PendingChain;

$app = boot();
$bus = $app['bus'];
$queue = env_or('QUEUE', null);
$connection = $app['queue']->connection();
$name = $argv[1];
$given = array_slice($argv, 2);
$on = fn ($job) => $queue === null ? $job : $job->onQueue($queue);
$told = [];

/** A job of tests by its name, with arguments that are JSON where they can be. */
function job(string $name, array $given = []): object
{
    return new ("App\\Jobs\\$name")(...array_map(fn ($each) => json_decode($each, true) ?? $each, $given));
}

switch ($name) {
    case 'migrate':
        migrate($app);
        break;
    case 'job':  // CLASS [argument …]
        $on(('App\\Jobs\\'.array_shift($given))::dispatch(...array_map(fn ($each) => json_decode($each, true) ?? $each, $given)));
        break;
    case 'later':  // SECONDS CLASS [argument …]
        $seconds = (int) array_shift($given);
        $on(dispatch(job(array_shift($given), $given))->delay($seconds));
        break;
    case 'bulk':  // COUNT: plain steps 0, 1, …
        $connection->bulk(array_map(fn ($n) => job('Step', [$n]), range(0, $given[0] - 1)), '', $queue);
        break;
    case 'many':  // CLASS COUNT [first] [argument …]: each gets its number first, then the arguments
        [$class, $count, $first] = [array_shift($given), (int) array_shift($given), (int) (array_shift($given) ?? 0)];
        foreach (range($first, $first + $count - 1) as $n) {
            $connection->push(job($class, [$n, ...$given]), '', $queue);
        }
        break;
    case 'chain':  // steps 1, 2, 3; CHAIN_CONNECTION and CHAIN_QUEUE for all of them
        $chain = new PendingChain(job('Step', [1]), [job('Step', [2]), job('Step', [3])]);
        if (getenv('CHAIN_QUEUE')) {
            $chain->onQueue(getenv('CHAIN_QUEUE'));
        }
        if (getenv('CHAIN_CONNECTION')) {
            $chain->onConnection(getenv('CHAIN_CONNECTION'));
        }
        $chain->catch(function ($e) { say('caught', ['message' => $e->getMessage()]); })->dispatch();
        break;
    case 'bad-chain':  // the second of three steps fails
        (new PendingChain($on(job('Step', [1])), [job('BadStep', [2]), job('Step', [3])]))
            ->catch(function ($e) { say('caught', ['message' => $e->getMessage()]); })->dispatch();
        break;
    case 'batch':  // CLASS …: a part of each, numbered from 1
        $parts = array_map(fn ($class, $n) => job($class, [$n]), $given, range(1, count($given)));
        $batch = $bus->batch($parts)->name('my batch')
            ->then(function (Batch $batch) { say('then', ['batch' => $batch->id]); })
            ->catch(function (Batch $batch, $e) { say('caught', ['batch' => $batch->id, 'message' => $e->getMessage()]); })
            ->finally(function (Batch $batch) { say('finally', ['batch' => $batch->id]); });
        if (getenv('ALLOW_FAILURES')) {
            $batch->allowFailures();
        }
        if ($queue !== null) {
            $batch->onQueue($queue);
        }
        $told['batch'] = $batch->dispatch()->id;
        break;
    case 'batch-state':  // ID
        $told['batch'] = $app['batches']->find($given[0])->toArray();
        $told['batch']['options'] = array_keys($told['batch']['options']);
        break;
    case 'closure':
        $captured = $given[0] ?? 'captured';
        $on(dispatch(function () use ($captured) { say('handled', ['class' => 'Closure', 'got' => $captured]); }));
        break;
    case 'string':  // [Class@method] [data as JSON]
        $connection->push($given[0] ?? 'App\Handlers\Report@build', json_decode($given[1] ?? '{"a": 1, "b": "é/\""}', true), $queue);
        break;
    case 'raw':  // PAYLOAD
        $connection->pushRaw($given[0], $queue);
        break;
    case 'listener':  // [number]
        $app['events']->listen(App\Events\OrderPlaced::class, App\Listeners\SendReceipt::class);
        $app['events']->dispatch(new App\Events\OrderPlaced((int) ($given[0] ?? 5)));
        break;
    case 'model':
        $invoices = collect(['A1', 'A2'])->map(fn ($number) => App\Invoice::create(['number' => $number]));
        $on(dispatch(new App\Jobs\Modelled($invoices[0], App\Invoice::all())));
        break;
    default:
        throw new InvalidArgumentException("no case named $name");
}
say('dispatched', ['case' => $name] + $told);
