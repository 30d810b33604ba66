--TEST--
A refusal by the server is a CeleryPublishException with a known outcome
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
$queue = fresh('queue');
redis()->set($queue, 'a string, not a list');
try {
    client(['exchange' => $queue])->PostTask('proj.add', [2, 3], true, 'celery', ['id' => 'my-id']);
    echo "posted?\n";
} catch (CeleryPublishException $e) {
    var_dump($e->outcomeUnknown(), $e->taskId(), str_contains($e->getMessage(), 'WRONGTYPE'));
}
?>
--EXPECT--
bool(false)
string(5) "my-id"
bool(true)
