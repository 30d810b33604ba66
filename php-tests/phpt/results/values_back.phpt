--TEST--
Results have the types that json_decode gives
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
$texts = ['5', '0', '2.5', '5.0', '"héllo"', '""', 'true', 'false', 'null', '[1,"two",3.5,null,true]', '[]', '{}', '{"a":{"b":[]}}',
    '{"0":"a"}', '12345678901234567890123', '0.30000000000000004', '"\u00fc \ud83d\ude00 \u0000"', '1e2', '-0.0',
    '{"__type__":"datetime","__value__":"2026-11-22T07:40:20"}'];
$same = 0;
foreach ($texts as $text) {
    $id = fresh('id');
    redis()->setex("celery-task-meta-$id", 60, '{"status": "SUCCESS", "result": ' . $text . ', "traceback": null, "children": [], "task_id": "' . $id . '"}');
    $got = (new AsyncResult($id, arguments()))->get(5);
    if (var_export($got, true) === var_export(json_decode($text), true)) {
        ++$same;
    } else {
        echo "$text: ", var_export($got, true), "\n";
    }
}
var_dump($same === count($texts));
// Python writes values that JSON does not have.
$id = fresh('id');
redis()->setex("celery-task-meta-$id", 60, '{"status": "SUCCESS", "result": [NaN, 1], "traceback": null, "children": [], "task_id": "x"}');
var_dump((new AsyncResult($id, arguments()))->get(5)[1]);
?>
--EXPECT--
bool(true)
int(1)
