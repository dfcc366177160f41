<?php
// The jobs that tests dispatch. Each run says {"event": "handled", "class", "attempts", "got"}, where
// "got" are the job's own properties, plainly (see plainly.php).

namespace App
{
    enum Suit: string { case Hearts = 'H'; case Spades = 'S'; }
    enum Mood { case Calm; case Wild; }

    class Address
    {
        public $city = 'Zürich';
        protected $zip = '8001';
        private $code = 's3cret';
        public ?Address $next = null;
    }

    class Invoice extends \Illuminate\Database\Eloquent\Model
    {
        public $timestamps = false;
        protected $guarded = [];
    }
}

namespace App\Handlers
{
    /** For jobs that are a string: `App\Handlers\Report@build`, or without a method: fire. */
    class Report
    {
        public function build($job, $data)
        {
            say('handled', ['class' => 'App\Handlers\Report@build', 'attempts' => $job->attempts(), 'got' => plainly($data)]);
            $job->delete();
        }

        public function fire($job, $data)
        {
            say('handled', ['class' => 'App\Handlers\Report', 'attempts' => $job->attempts(), 'got' => plainly($data)]);
            $job->delete();
        }
    }
}

namespace App\Events
{
    class OrderPlaced
    {
        public $number;

        public function __construct($number) { $this->number = $number; }
    }
}

namespace App\Listeners
{
    class SendReceipt implements \Illuminate\Contracts\Queue\ShouldQueue
    {
        public $tries = 2;

        public function handle($event) { say('handled', ['class' => static::class, 'got' => plainly($event)]); }
    }
}

namespace App\Jobs
{
    use Illuminate\Bus\Batchable;
    use Illuminate\Bus\Queueable;
    use Illuminate\Contracts\Queue\ShouldBeEncrypted;
    use Illuminate\Contracts\Queue\ShouldBeUnique;
    use Illuminate\Contracts\Queue\ShouldBeUniqueUntilProcessing;
    use Illuminate\Contracts\Queue\ShouldQueue;
    use Illuminate\Foundation\Bus\Dispatchable;
    use Illuminate\Queue\InteractsWithQueue;
    use Illuminate\Queue\Middleware\ThrottlesExceptions;
    use Illuminate\Queue\Middleware\WithoutOverlapping;
    use Illuminate\Queue\SerializesModels;

    const OF_LARAVEL = [
        'job', 'connection', 'queue', 'chainConnection', 'chainQueue', 'chainCatchCallbacks',
        'delay', 'afterCommit', 'middleware', 'chained', 'batchId',
    ];

    trait Says
    {
        protected function says(string $event, array $fields = [])
        {
            say($event, ['class' => static::class, 'attempts' => $this->job ? $this->attempts() : null] + $fields);
        }

        protected function handled(array $fields = [])
        {
            $own = clone $this;
            foreach (OF_LARAVEL as $name) {
                unset($own->$name);
            }
            $got = array_diff_key(plainly($own), ['@class' => null]);
            $this->says('handled', ['got' => $got ?: new \stdClass] + $fields);
        }

        public function failed($e = null)
        {
            $this->says('told', ['exception' => $e ? get_class($e) : null, 'message' => $e ? $e->getMessage() : null]);
        }
    }

    abstract class Job implements ShouldQueue
    {
        use Dispatchable, InteractsWithQueue, Queueable, SerializesModels, Says;

        public function handle() { $this->handled(); }
    }

    class Plain extends Job
    {
        public $name;

        public function __construct($name = 'plain') { $this->name = $name; }
    }

    /** Every kind of property that a job can have. */
    class Rich extends Job
    {
        public $text = 'héllo 🎉 日本';
        public $integer = PHP_INT_MAX;
        public $float = 0.1;
        public $whole = 1.0;
        public $yes = true;
        public $nothing = null;
        public $list = [1, 'two', 3.5, [true, false], []];
        public $map = ['a' => 1, 'b' => ['c' => null]];
        public $numbered = [7 => 'seven', 'x' => 'ex'];
        protected $shielded = ['token' => 't0ken'];
        private $hidden = -5;
        public int $typed = 42;
        public ?string $maybe = null;
        public $address;
        public $twice;
        public $suit;
        public $mood;
        public $moment;
        public $carbon;
        public $collection;

        public function __construct()
        {
            $this->address = new \App\Address;
            $this->address->next = new \App\Address;
            $this->twice = $this->address->next;
            $this->suit = \App\Suit::Hearts;
            $this->mood = \App\Mood::Wild;
            $this->moment = new \DateTimeImmutable('2026-01-02 03:04:05.678901', new \DateTimeZone('Europe/Paris'));
            $this->carbon = \Carbon\Carbon::parse('2026-01-02 03:04:05', 'UTC');
            $this->collection = collect(['a', 'b', 3]);
        }
    }

    /** A job that says what types it was given; properties without defaults. */
    class Typed extends Job
    {
        public string $to;
        public int $count;
        protected array $rows;
        private float $price;
        public ?\App\Address $address;
        public \DateTimeInterface $when;
        public \App\Suit $suit;
        public $extra = 'default';

        public function __construct(string $to = 'a@example.org', int $count = 3, array $rows = [1, 2], float $price = 9.75)
        {
            [$this->to, $this->count, $this->rows, $this->price] = [$to, $count, $rows, $price];
            [$this->address, $this->when, $this->suit] = [null, new \DateTimeImmutable('2026-01-02T03:04:05Z'), \App\Suit::Spades];
        }
    }

    class Options extends Job
    {
        public $tries = 3;
        public $timeout = 45;
        public $maxExceptions = 2;
        public $backoff = [10, 20, 30];
        public $failOnTimeout = true;
        public $deleteWhenMissingModels = true;
        public $value = 1;

        public function retryUntil() { return \Carbon\Carbon::createFromTimestamp(2000000000); }
        public function tags() { return ['user:1', 'options']; }
        public function displayName() { return 'Pretty Name'; }
    }

    class Secret extends Job implements ShouldBeEncrypted
    {
        public $card;

        public function __construct($card = '4242') { $this->card = $card; }
    }

    class Unique extends Job implements ShouldBeUnique
    {
        public $uniqueFor = 3600;
        public $id;

        public function __construct($id = 7) { $this->id = (int) $id; }
        public function uniqueId() { return "u{$this->id}"; }
    }

    class UniqueFails extends Unique
    {
        public $tries = 1;

        public function handle() { throw new \RuntimeException('unique and failed'); }
    }

    class UniqueUntilProcessing extends Job implements ShouldBeUniqueUntilProcessing
    {
        public $id = 9;

        public function uniqueId() { return "x{$this->id}"; }
    }

    /** Fails at each run. */
    class Fails extends Job
    {
        public $tries;
        public $backoff;

        public function __construct($tries = 2, $backoff = '1')
        {
            $this->tries = (int) $tries;
            $this->backoff = array_map('intval', explode(',', $backoff));
        }

        public function handle()
        {
            $this->handled();
            throw new \RuntimeException('it fails, run '.$this->attempts());
        }
    }

    /** Fails until it has failed for the second time. */
    class Fragile extends Job
    {
        public $tries = 10;
        public $maxExceptions = 2;
        public $backoff = 0;

        public function handle()
        {
            $this->handled();
            throw new \RuntimeException('fragile, run '.$this->attempts());
        }
    }

    /** Gives up by itself. */
    class GivesUp extends Job
    {
        public $tries = 5;

        public function handle()
        {
            $this->handled();
            $this->fail(new \DomainException('gave up'));
        }
    }

    /** Goes back into the queue at its first runs. */
    class Releases extends Job
    {
        public $tries = 5;
        public $times;
        public $wait;

        public function __construct($times = 1, $wait = 1) { [$this->times, $this->wait] = [(int) $times, (int) $wait]; }

        public function handle()
        {
            $this->handled();
            if ($this->attempts() <= $this->times) {
                $this->release($this->wait);
            }
        }
    }

    class Sleeps extends Job
    {
        public $tries;
        public $timeout;
        public $failOnTimeout;
        public $seconds;

        public function __construct($seconds = 5, $timeout = 1, $tries = 1, $failOnTimeout = 0)
        {
            [$this->seconds, $this->timeout, $this->tries] = [(float) $seconds, (int) $timeout, (int) $tries];
            $this->failOnTimeout = (bool) $failOnTimeout;
        }

        public function handle()
        {
            $this->says('sleeping');
            $end = microtime(true) + $this->seconds;
            while (microtime(true) < $end) {  // usleep returns early at a signal
                usleep(10000);
            }
            $this->handled();
        }
    }

    class Step extends Job
    {
        public $n;

        public function __construct($n) { $this->n = $n; }
    }

    class BadStep extends Step
    {
        public $tries = 1;

        public function handle()
        {
            $this->handled();
            throw new \RuntimeException("step {$this->n} fails");
        }
    }

    class InBatch extends Job
    {
        use Batchable;

        public $n;
        public $tries = 1;

        public function __construct($n = 1) { $this->n = $n; }

        public function handle()
        {
            if ($this->batch() && $this->batch()->cancelled()) {
                $this->says('skipped', ['batch' => $this->batchId]);

                return;
            }
            $this->handled(['batch' => $this->batchId]);
        }
    }

    class BadInBatch extends InBatch
    {
        public function handle()
        {
            $this->handled(['batch' => $this->batchId]);
            throw new \RuntimeException("part {$this->n} fails");
        }
    }

    class Modelled extends Job
    {
        public $deleteWhenMissingModels = true;
        public $invoice;
        public $invoices;

        public function __construct($invoice, $invoices = null) { [$this->invoice, $this->invoices] = [$invoice, $invoices]; }
    }

    class Overlaps extends Job
    {
        public $tries = 3;

        public function middleware() { return [(new WithoutOverlapping('k1'))->releaseAfter(5)->expireAfter(60)]; }
    }

    class Throttled extends Job
    {
        public $tries = 5;

        public function middleware() { return [new ThrottlesExceptions(1, 60)]; }
        public function handle() { throw new \RuntimeException('throttled'); }
    }

    /** One line for each run in the file that COUNTED names, whole or not at all: "ID php PID ATTEMPTS". */
    class Counted extends Job
    {
        public $id;
        public $tries = 0;
        public $milliseconds;

        public function __construct($id, $milliseconds = 0) { [$this->id, $this->milliseconds] = [(int) $id, (int) $milliseconds]; }

        public function handle()
        {
            if ($this->milliseconds) {
                usleep($this->milliseconds * 1000);
            }
            file_put_contents(getenv('COUNTED'), "{$this->id} php ".getmypid().' '.$this->attempts()."\n", FILE_APPEND);
        }
    }
}
