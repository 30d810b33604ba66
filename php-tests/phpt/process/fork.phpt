--TEST--
After pcntl_fork(), parent and child each use their own connection
--EXTENSIONS--
celery
pcntl
--FILE--
<?php
require __DIR__ . '/../support.inc';
$queue = fresh('queue');
$client = client(['exchange' => $queue]);
$client->PostTask('proj.echo', ['before'], false);
$child = pcntl_fork();
if ($child === 0) {
    for ($i = 0; $i < 200; ++$i) {
        $client->PostTask('proj.echo', ["child $i"], false);
    }
    exit(0);
}
for ($i = 0; $i < 200; ++$i) {
    $client->PostTask('proj.echo', ["parent $i"], false);
}
pcntl_waitpid($child, $status);
$client->PostTask('proj.echo', ['after'], false);
var_dump(pcntl_wexitstatus($status));
$redis = redis();
$seen = [];
$tags = [];
while ($raw = $redis->rPop($queue)) {
    $message = json_decode($raw, true);
    $seen[body($message)[0][0]] = true;
    $tags[$message['properties']['delivery_tag']] = true;
}
var_dump(count($seen), count($tags));
?>
--EXPECT--
int(0)
int(402)
int(402)
