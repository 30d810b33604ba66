--TEST--
A forked child does not touch its parent's pipelined posts
--EXTENSIONS--
celery
pcntl
--INI--
celery.publish=pipelined
--FILE--
<?php
require __DIR__ . '/../support.inc';
$queue = fresh('queue');
$client = client(['exchange' => $queue]);
for ($i = 0; $i < 100; ++$i) {
    $client->PostTask('proj.echo', ["before $i"], false);
}
$child = pcntl_fork();
for ($i = 0; $i < 100; ++$i) {
    $client->PostTask('proj.echo', [($child === 0 ? 'child' : 'parent') . " $i"], false);
}
$client->flush();
if ($child === 0) {
    exit(0);
}
pcntl_waitpid($child, $status);
var_dump(pcntl_wexitstatus($status), redis()->lLen($queue));
?>
--EXPECT--
int(0)
int(300)
