--TEST--
Before a result is stored, only methods that ask the backend answer; afterwards all do
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
$result = client(['exchange' => fresh('queue')])->PostTask('proj.add', [2, 3]);
$id = $result->getId();
foreach (['isReady', 'ready', 'failed', 'getStatus', 'isSuccess', 'successful', 'getTraceback', 'getResult'] as $method) {
    echo "$method: ";
    show(fn () => $result->$method());
}
var_dump($result->result, $result->state, $result->status);
store($id, 'SUCCESS', ['sum' => 5, 'of' => [2, 3], 'none' => new stdClass()]);
echo "stored\n";
foreach (['isReady', 'ready', 'failed', 'getStatus', 'isSuccess', 'successful', 'getTraceback', 'getResult'] as $method) {
    echo "$method: ";
    show(fn () => $result->$method());
}
var_dump($result->state, $result->status, $result->result->sum);
?>
--EXPECTF--
isReady: bool(false)
ready: bool(false)
failed: bool(false)
getStatus: CeleryException: getStatus() was called before the task was ready. %s
isSuccess: CeleryException: %s before the task was ready. %s
successful: CeleryException: %s before the task was ready. %s
getTraceback: CeleryException: getTraceback() was called before the task was ready. %s
getResult: CeleryException: getResult() was called before the task was ready. %s
NULL
string(7) "PENDING"
string(7) "PENDING"
stored
isReady: bool(true)
ready: bool(true)
failed: bool(false)
getStatus: string(7) "SUCCESS"
isSuccess: bool(true)
successful: bool(true)
getTraceback: NULL
getResult: object(stdClass)#%d (3) {
  ["sum"]=>
  int(5)
  ["of"]=>
  array(2) {
    [0]=>
    int(2)
    [1]=>
    int(3)
  }
  ["none"]=>
  object(stdClass)#%d (0) {
  }
}
string(7) "SUCCESS"
string(7) "SUCCESS"
int(5)
