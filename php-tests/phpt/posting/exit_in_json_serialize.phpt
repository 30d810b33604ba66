--TEST--
exit() inside jsonSerialize() ends the script normally, and nothing is sent
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
class Leaves implements JsonSerializable
{
    public function jsonSerialize(): mixed
    {
        echo "leaving\n";
        exit(0);
    }
}
$queue = fresh('queue');
register_shutdown_function(function () use ($queue) {
    $client = client(['exchange' => $queue]);
    var_dump(redis()->exists($queue), $client->PostTask('proj.echo', ['after'], false), redis()->lLen($queue));
});
client(['exchange' => $queue])->PostTask('proj.echo', [new Leaves()]);
echo "never\n";
?>
--EXPECT--
leaving
int(0)
bool(true)
int(1)
