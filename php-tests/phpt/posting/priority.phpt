--TEST--
A priority goes to kombu's list for its step
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
$queue = fresh('queue');
client(['exchange' => $queue])->PostTask('proj.echo', [], false, 'celery', ['priority' => 4]);
var_dump(redis()->exists($queue), message("$queue\x06\x163")['properties']['priority']);
?>
--EXPECT--
int(0)
int(4)
