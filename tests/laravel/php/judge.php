<?php
// What PHP itself makes of .env files, names and expressions: JSON in, JSON out.
error_reporting(0);
ini_set('serialize_precision', '-1');
require 'Illuminate/autoload.php';

use Illuminate\Support\Env;
use Illuminate\Support\Str;

class Judged extends Illuminate\Container\Container
{
    public function basePath($path = '') { return '/srv/app'.($path === '' ? '' : "/$path"); }
    public function databasePath($path = '') { return $this->basePath('database').($path === '' ? '' : "/$path"); }
}
Judged::setInstance(new Judged);
Judged::getInstance()->instance('path.storage', '/srv/app/storage');

/** Arrays as ["array", [[key, value], …]], so that JSON keeps their keys and order. */
function shown($value) {
    if (! is_array($value)) return $value;
    $pairs = [];
    foreach ($value as $key => $each) $pairs[] = [$key, shown($each)];
    return ['array', $pairs];
}

function judged($what, $item) {
    switch ($what) {
        case 'dotenv': return (object) Dotenv\Dotenv::parse($item);
        case 'slug': return Str::slug($item[0], $item[1]);
        case 'env':
            putenv("JUDGED=$item");
            return Env::get('JUDGED');
        case 'file': return shown(require $item);
        case 'value': return shown(eval("use Illuminate\Support\Str; return $item;"));
    }
}

$asked = json_decode(stream_get_contents(STDIN), true);
foreach ($asked['env'] ?? [] as $name => $value) putenv("$name=$value");
$answers = [];
foreach ($asked['items'] as $item) {
    try {
        $answers[] = [true, judged($asked['what'], $item)];
    } catch (Throwable $e) {
        $answers[] = [false, get_class($e)];
    }
}
echo json_encode($answers, JSON_PRESERVE_ZERO_FRACTION | JSON_PARTIAL_OUTPUT_ON_ERROR);
