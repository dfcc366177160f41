<?php
// php artisan queue:work …, php artisan run FILE: the Laravel of somebody who follows a page, with the
// job classes of app/Jobs.

require __DIR__.'/../laravel/php/bootstrap.php';

foreach (glob('app/Jobs/*.php') as $class) {
    require_once $class;
}
$app = boot();
if ($argv[1] === 'run') {
    require getcwd().'/'.$argv[2];
    exit;
}
exit(artisan($app)->run(
    new Symfony\Component\Console\Input\ArgvInput,
    new Symfony\Component\Console\Output\StreamOutput(STDOUT)
));
