--TEST--
Reaching memory_limit in the middle of a call ends the script, but not the process's connections
--EXTENSIONS--
celery
--INI--
memory_limit=16M
display_errors=0
log_errors=0
--FILE--
<?php
require __DIR__ . '/../support.inc';
class Greedy implements JsonSerializable
{
    public function jsonSerialize(): mixed
    {
        return str_repeat('x', 64 << 20);
    }
}
$queue = fresh('queue');
$client = client(['exchange' => $queue]);
$client->PostTask('proj.echo', [1], false);
register_shutdown_function(function () use ($client, $queue) {
    ini_set('memory_limit', '64M');
    var_dump($client->PostTask('proj.echo', [2], false), redis()->lLen($queue));
});
$client->PostTask('proj.echo', [new Greedy()], false);
echo "never\n";
?>
--EXPECT--
bool(true)
int(2)
