--TEST--
If the time of get() ends before a connection is open, it throws a CeleryConnectionException, in every way to wait
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
[$server, $port] = silent_server();
ini_set('celery.connect_timeout', '30');
$waits = [
    'get' => fn (AsyncResult $result) => $result->get(0.2),
    'wait' => fn (AsyncResult $result) => $result->wait('0.2'),
    'once' => fn (AsyncResult $result) => $result->get(0.2, true, 0.01),
    'null' => fn (AsyncResult $result) => $result->get(null),
];
ini_set('celery.result_timeout', '0.2');
foreach ($waits as $name => $wait) {
    try {
        $wait(new AsyncResult('id', arguments(['port' => $port])));
    } catch (CeleryException $e) {
        echo "$name: ", get_class($e), ' ', preg_match('/took longer than|no answer/', $e->getMessage()), "\n";
    }
}
?>
--EXPECT--
get: CeleryConnectionException 1
wait: CeleryConnectionException 1
once: CeleryConnectionException 1
null: CeleryConnectionException 1
