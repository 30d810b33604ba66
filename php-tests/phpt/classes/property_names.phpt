--TEST--
Names of properties may contain any bytes
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
#[AllowDynamicProperties]
class Mine extends AsyncResult
{
}
#[AllowDynamicProperties]
class Client extends Celery
{
}
foreach ([new Mine(fresh('id'), arguments()), new Client(...arguments()), new AsyncResult(fresh('id'), arguments())] as $object) {
    foreach (["\xff", "caf\xe9", 'ü', "a\0b", '5'] as $name) {
        $seen = [];
        set_error_handler(function ($kind, $message) use (&$seen) {
            $seen[] = preg_replace('/[^ -~]+/', '?', $message);

            return true;
        });
        $seen[] = json_encode([isset($object->$name), empty($object->$name), property_exists($object, $name), $object->$name ?? 'default']);
        $seen[] = json_encode($object->$name);
        unset($object->$name);
        $object->$name = 1;
        ++$object->$name;
        $seen[] = json_encode([isset($object->$name), $object->$name]);
        unset($object->$name);
        $seen[] = json_encode(isset($object->$name));
        restore_error_handler();
        echo get_class($object), ': ', implode(' | ', $seen), "\n";
    }
}
?>
--EXPECTF--
Mine: AsyncResult::__get(): Undefined property: AsyncResult::$? | [false,true,false,"default"] | AsyncResult::__get(): Undefined property: AsyncResult::$? | null | [true,2] | false
Mine: AsyncResult::__get(): Undefined property: AsyncResult::$caf? | [false,true,false,"default"] | AsyncResult::__get(): Undefined property: AsyncResult::$caf? | null | [true,2] | false
Mine: AsyncResult::__get(): Undefined property: AsyncResult::$? | [false,true,false,"default"] | AsyncResult::__get(): Undefined property: AsyncResult::$? | null | [true,2] | false
Mine: AsyncResult::__get(): Undefined property: AsyncResult::$a%S | [false,true,false,"default"] | AsyncResult::__get(): Undefined property: AsyncResult::$a%S | null | [true,2] | false
Mine: AsyncResult::__get(): Undefined property: AsyncResult::$5 | [false,true,false,"default"] | AsyncResult::__get(): Undefined property: AsyncResult::$5 | null | [true,2] | false
Client: [false,true,false,"default"] | Undefined property: Client::$? | null | [true,2] | false
Client: [false,true,false,"default"] | Undefined property: Client::$caf? | null | [true,2] | false
Client: [false,true,false,"default"] | Undefined property: Client::$? | null | [true,2] | false
Client: [false,true,false,"default"] | Undefined property: Client::$a%S | null | [true,2] | false
Client: [false,true,false,"default"] | Undefined property: Client::$5 | null | [true,2] | false
AsyncResult: AsyncResult::__get(): Undefined property: AsyncResult::$? | [false,true,false,"default"] | AsyncResult::__get(): Undefined property: AsyncResult::$? | null | Creation of dynamic property AsyncResult::$? is deprecated | [true,2] | false
AsyncResult: AsyncResult::__get(): Undefined property: AsyncResult::$caf? | [false,true,false,"default"] | AsyncResult::__get(): Undefined property: AsyncResult::$caf? | null | Creation of dynamic property AsyncResult::$caf? is deprecated | [true,2] | false
AsyncResult: AsyncResult::__get(): Undefined property: AsyncResult::$? | [false,true,false,"default"] | AsyncResult::__get(): Undefined property: AsyncResult::$? | null | Creation of dynamic property AsyncResult::$? is deprecated | [true,2] | false
AsyncResult: AsyncResult::__get(): Undefined property: AsyncResult::$a%S | [false,true,false,"default"] | AsyncResult::__get(): Undefined property: AsyncResult::$a%S | null | Creation of dynamic property AsyncResult::$a%S is deprecated | [true,2] | false
AsyncResult: AsyncResult::__get(): Undefined property: AsyncResult::$5 | [false,true,false,"default"] | AsyncResult::__get(): Undefined property: AsyncResult::$5 | null | Creation of dynamic property AsyncResult::$5 is deprecated | [true,2] | false
