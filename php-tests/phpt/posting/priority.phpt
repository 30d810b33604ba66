--TEST--
A message with a priority goes to the list of its step in kombu's priority_steps
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
