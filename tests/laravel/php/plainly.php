<?php
// PHP values as JSON and back, without loss: what a test compares, and what it asks PHP with.
//
//   null, bool, int, string, list, array with string keys    as JSON has them
//   float                1.0 and 0.1 as JSON has them, else {"@float": "INF" | "-INF" | "NAN"}
//   string, not UTF-8    {"@bytes": "hex"}
//   other arrays         {"@array": [[key, value], …]}
//   object               {"@class": "App\\X", "+public": …, "#protected": …, "-private": …,
//                         "-App\\Parent::private": …}
//   date                 {"@date": "2026-01-02T03:04:05.678901+01:00", "@class": …, "zone": …}
//   enum                 {"@enum": "App\\Suit::Hearts"}
//   an object again      {"@again": n}, the n-th object from 0, in order of meeting

function plainly($value, ?ArrayObject $met = null)
{
    $met ??= new ArrayObject;
    if (is_string($value)) {
        return mb_check_encoding($value, 'UTF-8') ? $value : ['@bytes' => bin2hex($value)];
    }
    if (is_float($value)) {
        return match (true) {
            is_nan($value) => ['@float' => 'NAN'],
            is_infinite($value) => ['@float' => $value > 0 ? 'INF' : '-INF'],
            default => $value,
        };
    }
    if (is_array($value)) {
        return plain_array($value, $met);
    }

    return is_object($value) ? plain_object($value, $met) : $value;
}

function plain_array(array $value, ArrayObject $met)
{
    if (array_is_list($value)) {
        return array_map(fn ($each) => plainly($each, $met), $value);
    }
    $keys = array_keys($value);
    $easy = array_filter($keys, fn ($key) => ! is_string($key) || str_starts_with($key, '@') || ! mb_check_encoding($key, 'UTF-8')) === [];
    if ($easy) {
        return array_map(fn ($each) => plainly($each, $met), $value);
    }

    return ['@array' => array_map(fn ($key) => [plainly($key), plainly($value[$key], $met)], $keys)];
}

function plain_object(object $value, ArrayObject $met): array
{
    if ($value instanceof UnitEnum) {
        return ['@enum' => get_class($value).'::'.$value->name];
    }
    $id = spl_object_id($value);
    if ($met->offsetExists($id)) {
        return ['@again' => $met[$id][0]];
    }
    $met[$id] = [count($met), $value];  // kept, or another object could get its id
    if ($value instanceof DateTimeInterface) {
        return [
            '@date' => $value->format('Y-m-d\TH:i:s.uP'), '@class' => get_class($value),
            'zone' => $value->getTimezone()->getName(),
        ];
    }
    $fields = (array) $value;
    $class = get_class($value);
    if ($value instanceof __PHP_Incomplete_Class) {
        $class = $fields['__PHP_Incomplete_Class_Name'];
        unset($fields['__PHP_Incomplete_Class_Name']);
    }
    $plain = ['@class' => $class];
    foreach ($fields as $name => $field) {
        $plain[plain_name((string) $name, $class)] = plainly($field, $met);
    }

    return $plain;
}

function plain_name(string $name, string $class): string
{
    if ($name === '' || $name[0] !== "\0") {
        return "+$name";
    }
    [, $owner, $bare] = explode("\0", $name, 3);

    return match ($owner) { '*' => "#$bare", $class => "-$bare", default => "-$owner::$bare" };
}

/** The PHP value of a plain one; objects of classes that exist, their properties set as given. */
function from_plain($plain)
{
    if (! is_array($plain)) {
        return $plain;
    }
    if (array_is_list($plain)) {
        return array_map('from_plain', $plain);
    }
    if (isset($plain['@float'])) {
        return ['INF' => INF, '-INF' => -INF, 'NAN' => NAN][$plain['@float']];
    }
    if (isset($plain['@bytes'])) {
        return hex2bin($plain['@bytes']);
    }
    if (isset($plain['@enum'])) {
        return constant($plain['@enum']);
    }
    if (isset($plain['@date'])) {
        return (new $plain['@class']($plain['@date']))->setTimezone(new DateTimeZone($plain['zone']));
    }
    if (isset($plain['@array'])) {
        $array = [];
        foreach ($plain['@array'] as [$key, $value]) {
            $array[from_plain($key)] = from_plain($value);
        }

        return $array;
    }
    if (! isset($plain['@class'])) {
        return array_map('from_plain', $plain);
    }
    $object = (new ReflectionClass($plain['@class']))->newInstanceWithoutConstructor();
    foreach ($plain as $name => $value) {
        if ($name !== '@class') {
            set_property($object, $name, from_plain($value));
        }
    }

    return $object;
}

function set_property(object $object, string $name, $value): void
{
    [$owner, $bare] = str_contains($name, '::') ? explode('::', substr($name, 1)) : [get_class($object), substr($name, 1)];
    if (! property_exists($owner, $bare)) {
        $object->$bare = $value;

        return;
    }
    $property = new ReflectionProperty($owner, $bare);
    $property->setAccessible(true);
    $property->setValue($object, $value);
}
