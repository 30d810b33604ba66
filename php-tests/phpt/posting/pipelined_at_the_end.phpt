--TEST--
The end of a request collects pipelined posts, and warns of the refused ones
--EXTENSIONS--
celery
--INI--
celery.publish=pipelined
html_errors=0
--FILE--
<?php
require __DIR__ . '/../support.inc';
$queue = fresh('queue');
redis()->set($queue, 'a string, not a list');
$client = client(['exchange' => $queue]);
$client->PostTask('proj.echo', [1], false, 'celery', ['id' => 'first']);
$client->PostTask('proj.echo', [1], false, 'celery', ['id' => 'second']);
echo "end\n";
?>
--EXPECTF--
end

Warning: %SThese tasks were not queued: first, second: %sWRONGTYPE%s
