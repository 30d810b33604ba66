--TEST--
A failure is a value for Celery, whatever $propagate says, and thrown for Celery\Celery
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/support.inc';
$failure = ['exc_type' => 'ValueError', 'exc_message' => ['no such row'], 'exc_module' => 'builtins'];
$queue = fresh('queue');
$result = client(['exchange' => $queue])->PostTask('proj.fail', []);
store($result->getId(), 'FAILURE', $failure, "Traceback\nValueError: no such row\n");
var_dump($result->get(5, true)->exc_type, $result->getStatus(), $result->failed(), $result->isSuccess(), $result->getTraceback());

$client = new Celery\Celery('127.0.0.1', null, null, 0, $queue, port: redis_port(), connector: 'redis');
$result = $client->PostTask('proj.fail', []);
store($result->getId(), 'FAILURE', $failure);
try {
    $result->get(5);
} catch (CeleryException $e) {
    var_dump(get_class($e), str_contains($e->getMessage(), 'ValueError'), str_contains($e->getMessage(), 'no such row'), str_contains($e->getMessage(), $result->getId()));
}
var_dump($result->get(5, false)->exc_type, $result->getResult()->exc_type);
?>
--EXPECT--
string(10) "ValueError"
string(7) "FAILURE"
bool(true)
bool(false)
string(34) "Traceback
ValueError: no such row
"
string(15) "CeleryException"
bool(true)
bool(true)
bool(true)
string(10) "ValueError"
string(10) "ValueError"
