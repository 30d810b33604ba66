--TEST--
Large integers are floats as json_decode makes them, with every digit in the body; kombu's wrappers are objects
--EXTENSIONS--
celery
--INI--
celery.keep_results=1
--FILE--
<?php
require __DIR__ . '/../support.inc';
function store_value(string $json): string
{
    $id = fresh('id');
    redis()->setex("celery-task-meta-$id", 60, '{"status": "SUCCESS", "result": ' . $json . ', "traceback": null, "children": [], "task_id": "' . $id . '"}');
    return $id;
}
$celery = client();
foreach (['9223372036854775807', '9223372036854775808', '-18446744073709551617', str_repeat('7', 40)] as $digits) {
    $id = store_value("[$digits]");
    $value = (new AsyncResult($id, arguments()))->get(5)[0];
    $body = $celery->getAsyncResultMessage('t', $id, null, false)['body'];
    $exact = json_decode($body, false, 512, JSON_BIGINT_AS_STRING)->result[0];
    echo get_debug_type($value), ' ', var_export($value === json_decode($digits), true), ' ', var_export((string) $exact === $digits, true), "\n";
}
foreach ([
    '{"__type__":"decimal","__value__":"1.10"}',
    '{"__type__":"uuid","__value__":{"hex":"12345678123456781234567812345678"}}',
    '{"__type__":"datetime","__value__":"2026-01-02T03:04:05.678901+00:00"}',
    '{"__type__":"base64","__value__":"/wBhYmM="}',
] as $json) {
    $value = (new AsyncResult(store_value($json), arguments()))->get(5);
    echo $value->__type__, ' ', json_encode($value->__value__, JSON_UNESCAPED_SLASHES), "\n";
}
?>
--EXPECT--
int true true
float true true
float true true
float true true
decimal "1.10"
uuid {"hex":"12345678123456781234567812345678"}
datetime "2026-01-02T03:04:05.678901+00:00"
base64 "/wBhYmM="
