--TEST--
celery.task_protocol=1 writes messages of protocol 1
--EXTENSIONS--
celery
--INI--
celery.task_protocol=1
--FILE--
<?php
require __DIR__ . '/../support.inc';
$queue = fresh('queue');
$result = client(['exchange' => $queue])->PostTask('proj.add', ['x' => 1], true, 'celery', ['retries' => 2]);
$message = message($queue);
$task = json_decode(base64_decode($message['body']), true);
var_dump($message['headers'], $task['task'], $task['id'] === $result->getId(), $task['args'], $task['kwargs'], $task['retries']);
?>
--EXPECT--
array(0) {
}
string(8) "proj.add"
bool(true)
array(0) {
}
array(1) {
  ["x"]=>
  int(1)
}
int(2)
