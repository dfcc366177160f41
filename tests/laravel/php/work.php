<?php
// php work.php [option of queue:work …]: Laravel's own queue:work, which says each event as a JSON line.
//
//   {"event": "processing" | "processed" | "failed" | "released" | "exception",
//    "class", "attempts", "uuid", "queue", "connection", "released"}; "processing" with "data",
//    others after a fault with "exception" and "message"
// "released" comes after an exception; what a job releases itself is {"event": "processed", "released": true}.
// QUIET=1: only "started", "failed" and what jobs say themselves.

require __DIR__.'/bootstrap.php';
require __DIR__.'/jobs.php';

use Illuminate\Queue\Events\JobExceptionOccurred;
use Illuminate\Queue\Events\JobFailed;
use Illuminate\Queue\Events\JobProcessed;
use Illuminate\Queue\Events\JobProcessing;
use Illuminate\Queue\Events\JobReleasedAfterException;
use Symfony\Component\Console\Input\ArgvInput;
use Symfony\Component\Console\Output\StreamOutput;

const EVENTS = [
    JobProcessing::class => 'processing',
    JobProcessed::class => 'processed',
    JobFailed::class => 'failed',
    JobReleasedAfterException::class => 'released',
    JobExceptionOccurred::class => 'exception',
];

$app = boot();
foreach (EVENTS as $class => $event) {
    if (getenv('QUIET') && $event !== 'failed') {
        continue;
    }
    $app['events']->listen($class, function ($raised) use ($event) {
        $job = $raised->job;
        $fault = $raised->exception ?? null;
        say($event, [
            'class' => $job->resolveName(),
            'attempts' => $job->attempts(),
            'uuid' => $job->uuid(),
            'queue' => $job->getQueue(),
            'connection' => $raised->connectionName,
            'released' => $job->isReleased(),
        ] + ($event === 'processing' ? ['data' => plainly($job->payload()['data'] ?? null)] : [])
          + ($fault ? ['exception' => get_class($fault), 'message' => $fault->getMessage()] : []));
    });
}
say('started', ['pid' => getmypid()]);
$code = artisan($app)->run(
    new ArgvInput(['artisan', 'queue:work', ...array_slice($argv, 1)]),
    new StreamOutput(fopen('php://stderr', 'w'))
);
exit($code);
