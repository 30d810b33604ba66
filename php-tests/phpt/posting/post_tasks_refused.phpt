--TEST--
PostTasks() names each refused task
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
$queue = fresh('queue');
redis()->set($queue, 'a string, not a list');
$client = client(['exchange' => $queue]);
try {
    $client->PostTasks([['proj.add', [1], ['id' => 'first']], ['proj.add', [2], ['id' => 'second']]]);
    echo "posted?\n";
} catch (CeleryPublishException $e) {
    var_dump($e->outcomeUnknown(), $e->taskId(), $e->taskIds(), str_contains($e->getMessage(), 'first, second'));
}
show(function () {
    try {
        client(['port' => closed_port()])->PostTasks([['proj.add', [1], ['id' => 'third']]]);
    } catch (CeleryConnectionException $e) {
        return str_contains($e->getMessage(), 'No task was queued.');
    }
});
?>
--EXPECT--
bool(false)
string(5) "first"
array(2) {
  [0]=>
  string(5) "first"
  [1]=>
  string(6) "second"
}
bool(true)
bool(true)
