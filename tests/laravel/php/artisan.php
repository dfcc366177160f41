<?php
// php artisan.php queue:retry all: Laravel's own commands about queues.

require __DIR__.'/bootstrap.php';
require __DIR__.'/jobs.php';

use Symfony\Component\Console\Input\ArgvInput;
use Symfony\Component\Console\Output\StreamOutput;

exit(artisan(boot())->run(new ArgvInput, new StreamOutput(STDOUT)));
