--TEST--
getAsyncResultMessage(): false, then the document, deleted only on request and if final
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
$client = client();
$id = fresh('id');
var_dump($client->getAsyncResultMessage('proj.add', $id));
store($id, 'SUCCESS', ['a' => new stdClass()]);
$message = $client->getAsyncResultMessage('proj.add', $id, null, false);
var_dump(array_keys($message), $message['complete_result']['result'], json_decode($message['body'])->result, stored($id));
$client->getAsyncResultMessage('proj.add', $id, [2, 3]);
var_dump(stored($id));
store($id, 'SUCCESS', 1);
$namespaced = new Celery\Celery('127.0.0.1', null, null, 0, port: redis_port(), connector: 'redis');
$namespaced->getAsyncResultMessage('proj.add', $id);
var_dump(stored($id));
$namespaced->getAsyncResultMessage('proj.add', $id, null, true);
var_dump(stored($id));
?>
--EXPECTF--
bool(false)
array(2) {
  [0]=>
  string(15) "complete_result"
  [1]=>
  string(4) "body"
}
array(1) {
  ["a"]=>
  array(0) {
  }
}
object(stdClass)#%d (1) {
  ["a"]=>
  object(stdClass)#%d (0) {
  }
}
bool(true)
bool(false)
bool(true)
bool(false)
