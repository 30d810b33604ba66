--TEST--
An exception thrown by jsonSerialize() reaches the caller unchanged, and nothing is sent
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
class Fails implements JsonSerializable
{
    public function jsonSerialize(): mixed
    {
        throw new DomainException('not today');
    }
}
$queue = fresh('queue');
$client = client(['exchange' => $queue]);
show(fn () => $client->PostTask('proj.echo', ['x', [new Fails()]]));
show(fn () => $client->PostTask('proj.echo', ['x' => new Fails()]));
show(fn () => $client->PostTask('proj.echo', [], task_args: ['h' => new Fails()]));
var_dump(redis()->exists($queue), $client->PostTask('proj.echo', ['fine'], false), redis()->lLen($queue));
?>
--EXPECT--
DomainException: not today
DomainException: not today
DomainException: not today
int(0)
bool(true)
int(1)
