--TEST--
Fibers may switch in the middle of a call, in any order, and be dropped or die there
--EXTENSIONS--
celery
--INI--
display_errors=0
log_errors=0
--FILE--
<?php
require __DIR__ . '/../support.inc';
final class Pauses implements JsonSerializable
{
    public function __construct(private string $name, private string $then = '')
    {
    }

    public function jsonSerialize(): mixed
    {
        Fiber::suspend($this->name);
        if ($this->then === 'dies') {
            require '/nowhere/at/all';
        }

        return $this->name;
    }
}
final class PausingResult extends AsyncResult
{
    public function isReady()
    {
        Fiber::suspend('is it ready?');

        return parent::isReady();
    }
}
$queue = fresh('queue');
$client = client(['exchange' => $queue]);
$posts = fn (...$arguments) => new Fiber(fn () => $client->PostTask('proj.echo', [new Pauses(...$arguments)], false));
$queued = fn () => array_map(fn ($raw) => body(json_decode($raw, true))[0][0], array_reverse(redis()->lRange($queue, 0, -1)));

foreach (['confirmed', 'pipelined'] as $mode) {
    ini_set('celery.publish', $mode);
    $fibers = ['a' => $posts('a'), 'b' => $posts('b'), 'c' => $posts('c')];
    foreach ($fibers as $fiber) {
        $fiber->start();
    }
    $client->PostTask('proj.echo', ['from outside'], false);
    foreach (['b', 'a', 'c'] as $name) {
        $fibers[$name]->resume();
        var_dump($fibers[$name]->getReturn());
    }
    $client->flush();
    echo implode(', ', $queued()), "\n";
    redis()->del($queue);
}
ini_set('celery.publish', 'confirmed');

$result = new PausingResult(fresh('id'), arguments());
store($result->getId(), 'SUCCESS', 5);
$reads = new Fiber(fn () => $result->get(20));
echo $reads->start(), "\n";
$client->PostTask('proj.echo', ['meanwhile'], false);
while (!$reads->isTerminated()) {
    $reads->resume();
}
var_dump($reads->getReturn());

// Dropped in the middle: nothing is posted.
$dropped = $posts('dropped');
$dropped->start();
unset($dropped);
gc_collect_cycles();
$client->PostTask('proj.echo', ['after it'], false);
echo implode(', ', $queued()), "\n";

register_shutdown_function(function () use ($client, $queued) {
    $client->PostTask('proj.echo', ['at the end'], false);
    echo implode(', ', $queued()), "\n";
});
$waits = $posts('never resumed');
$waits->start();
$dies = $posts('dies', 'dies');
$dies->start();
$dies->resume();
echo "never\n";
?>
--EXPECT--
bool(true)
bool(true)
bool(true)
from outside, b, a, c
bool(true)
bool(true)
bool(true)
from outside, b, a, c
is it ready?
int(5)
meanwhile, after it
meanwhile, after it, at the end
