--TEST--
A value that Python can write and PHP cannot hold is replaced, or refused with the reason
--EXTENSIONS--
celery
--INI--
celery.keep_results=1
--FILE--
<?php
require __DIR__ . '/../support.inc';
foreach (['"\ud800"', '{"\u0000name": 1}', str_repeat('[', 600) . str_repeat(']', 600)] as $value) {
    $id = fresh('id');
    redis()->setex("celery-task-meta-$id", 60, '{"status": "SUCCESS", "result": ' . $value . '}');
    show(fn () => (new AsyncResult($id, arguments()))->get(5));
}
?>
--EXPECTF--
string(3) "�"
CeleryException: The result cannot be represented in PHP: a name in it begins with a NUL byte.
CeleryException: The stored result of task %s cannot be read: not a result document: nested deeper than 127 levels.
