--TEST--
Celery\Value makes kombu's forms, and refuses what Python could not read
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';

use Celery\Value;

$date = new DateTimeImmutable('2026-01-02 03:04:05.5');
foreach ([
    Value::bytes('abc'),
    Value::bytes("\xff\x00"),
    Value::decimal('-19.90'),
    Value::decimal(7),
    Value::decimal('1E+3'),
    Value::uuid('9AD2D1B1-0c5d-4a8c-9a1e-3b3f3b3f3b3f'),
    Value::uuid('9ad2d1b10c5d4a8c9a1e3b3f3b3f3b3f'),
    Value::date($date),
    Value::time($date),
    Value::time(new DateTime('03:04:05')),
    Value::of('money', ['EUR', 5]),
] as $value) {
    echo json_encode($value, JSON_UNESCAPED_SLASHES), "\n";
}
var_dump(Value::of('x', 1) == Value::of('x', 1), Value::of('x', 1) == Value::of('x', 2));
foreach (['', 'abc', '1.2.3', 'NaN', '1e', '.', '１'] as $number) {
    show(fn () => Value::decimal($number));
}
show(fn () => Value::uuid('9ad2'));
show(fn () => Value::uuid(str_repeat('z', 32)));
show(fn () => Value::date('2026-01-02'));
show(fn () => new Value());
show(function () { $value = Value::of('x', 1); $value->type = 'y'; });
show(function () { $value = Value::of('x', 1); $value->more = 'y'; });
?>
--EXPECT--
{"__type__":"bytes","__value__":"abc"}
{"__type__":"base64","__value__":"/wA="}
{"__type__":"decimal","__value__":"-19.90"}
{"__type__":"decimal","__value__":"7"}
{"__type__":"decimal","__value__":"1E+3"}
{"__type__":"uuid","__value__":{"hex":"9ad2d1b10c5d4a8c9a1e3b3f3b3f3b3f"}}
{"__type__":"uuid","__value__":{"hex":"9ad2d1b10c5d4a8c9a1e3b3f3b3f3b3f"}}
{"__type__":"date","__value__":"2026-01-02"}
{"__type__":"time","__value__":"03:04:05.500000"}
{"__type__":"time","__value__":"03:04:05"}
{"__type__":"money","__value__":["EUR",5]}
bool(true)
bool(false)
ValueError: Celery\Value::decimal(): Argument #1 ($number) must be a decimal number, such as "19.90"
ValueError: Celery\Value::decimal(): Argument #1 ($number) must be a decimal number, such as "19.90"
ValueError: Celery\Value::decimal(): Argument #1 ($number) must be a decimal number, such as "19.90"
ValueError: Celery\Value::decimal(): Argument #1 ($number) must be a decimal number, such as "19.90"
ValueError: Celery\Value::decimal(): Argument #1 ($number) must be a decimal number, such as "19.90"
ValueError: Celery\Value::decimal(): Argument #1 ($number) must be a decimal number, such as "19.90"
ValueError: Celery\Value::decimal(): Argument #1 ($number) must be a decimal number, such as "19.90"
ValueError: Celery\Value::uuid(): Argument #1 ($uuid) must be a UUID
ValueError: Celery\Value::uuid(): Argument #1 ($uuid) must be a UUID
TypeError: Celery\Value::date(): Argument #1 ($date) must be of type DateTimeInterface, string given
Error: Call to private Celery\Value::__construct() from global scope
Error: Cannot modify readonly property Celery\Value::$type
Error: Cannot create dynamic property Celery\Value::$more
