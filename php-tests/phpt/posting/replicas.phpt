--TEST--
celery.replicas: a post with too few replicas is reported, and not repeated
--EXTENSIONS--
celery
--INI--
celery.post_timeout=1
--FILE--
<?php
require __DIR__ . '/../support.inc';
// The Redis of the tests has no replica.
$queue = fresh('queue');
$client = client(['exchange' => $queue]);
$client->PostTask('proj.echo', [1], false);
ini_set('celery.replicas', '2');
foreach (['confirmed', 'once', 'pipelined'] as $mode) {
    ini_set('celery.publish', $mode);
    within(1, function () use ($client, $mode) {
        try {
            $client->PostTask('proj.echo', [1], false, 'celery', ['id' => fresh($mode)]);
            $client->flush();
        } catch (CeleryPublishException $e) {
            echo $e->getMessage(), "\n";

            return $e->outcomeUnknown();
        }
    });
}
ini_set('celery.publish', 'confirmed');
try {
    $client->PostTasks([['proj.echo', [1]], ['proj.echo', [2]]], false);
} catch (CeleryPublishException $e) {
    var_dump($e->outcomeUnknown(), count($e->taskIds()));
}
// With a value that is not a number, no replica is asked.
ini_set('celery.replicas', 'many');
var_dump($client->PostTask('proj.echo', [1], false), redis()->lLen($queue));
?>
--EXPECTF--
Task confirmed-%s was not confirmed by the broker redis://%s: 0 of 2 replicas confirmed it. The task may be in the queue nevertheless; posting it again may run it twice (see celery.publish=once).
bool(true)
in time
Task once-%s was not confirmed by the broker redis://%s: 0 of 2 replicas confirmed it. The task may be in the queue nevertheless; posting it again may run it twice (see celery.publish=once).
bool(true)
in time
These tasks may or may not have been queued: pipelined-%s (broker redis://%s: 0 of 2 replicas confirmed it)
bool(true)
in time
bool(true)
int(2)
bool(true)
int(7)
