--TEST--
celery.publish=pipelined: every task arrives, and flush() names the refused tasks
--EXTENSIONS--
celery
--INI--
celery.publish=pipelined
--FILE--
<?php
require __DIR__ . '/../support.inc';
$queue = fresh('queue');
$client = client(['exchange' => $queue]);
for ($i = 0; $i < 3000; ++$i) {
    $last = $client->PostTask('proj.echo', [$i]);
}
var_dump($client->flush(), redis()->lLen($queue));
store($last->getId(), 'SUCCESS', 5);
var_dump($last->get(5));
redis()->set("$queue-taken", 'a string, not a list');
$client->PostTask('proj.echo', [1], false, "$queue-taken", ['id' => 'refused']);
$client->PostTask('proj.echo', [1], false, 'celery', ['id' => 'accepted']);
try {
    $client->flush();
    echo "accepted?\n";
} catch (CeleryPublishException $e) {
    var_dump($e->outcomeUnknown(), $e->taskIds());
}
var_dump($client->flush(), redis()->lLen($queue));
?>
--EXPECT--
NULL
int(3000)
int(5)
bool(false)
array(1) {
  [0]=>
  string(7) "refused"
}
NULL
int(3001)
