--TEST--
A stored result whose connection is unknown is read from the result backend of php.ini
--EXTENSIONS--
celery
--INI--
celery.result_backend=${REDIS_URL}
--FILE--
<?php
require __DIR__ . '/../support.inc';
$id = fresh('id');
store($id, 'SUCCESS', 5);
$text = 'O:11:"AsyncResult":3:{s:7:"version";i:1;s:2:"id";s:' . strlen($id) . ":\"$id\";s:10:\"connection\";s:7:\"unknown\";}";
var_dump(unserialize($text)->get(5), stored($id));
?>
--EXPECT--
int(5)
bool(false)
