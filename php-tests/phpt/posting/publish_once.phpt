--TEST--
celery.publish=once queues a task id only once
--EXTENSIONS--
celery
--INI--
celery.publish=once
--FILE--
<?php
require __DIR__ . '/../support.inc';
$queue = fresh('queue');
$client = client(['exchange' => $queue]);
var_dump($client->PostTask('proj.echo', [], false, 'celery', ['id' => "id-$queue"]));
var_dump($client->PostTask('proj.echo', [], false, 'celery', ['id' => "id-$queue"]));
var_dump(redis()->lLen($queue));
ini_set('celery.publish', 'sometimes');
show(fn () => $client->PostTask('proj.echo', []));
?>
--EXPECTF--
bool(true)
bool(true)
int(1)
CeleryException: celery.publish is "sometimes"; it must be %s
