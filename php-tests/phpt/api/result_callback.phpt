--TEST--
onMessage is called for every state; what it throws, a fork and another wait in it do no harm
--EXTENSIONS--
celery
pcntl
posix
--FILE--
<?php
require __DIR__ . '/../support.inc';

use Celery\{Client, TaskMeta};

$client = new Client(redis_url());
function once_awaited(string $id, callable $then): void
{
    if (pcntl_fork() === 0) {
        until('a reader', fn () => redis()->pubsub('NUMSUB', ["celery-task-meta-$id"])["celery-task-meta-$id"] >= 1);
        $then();
        posix_kill(getmypid(), SIGKILL);
    }
}
$progress = function (string $id): void {
    foreach ([1, 2] as $step) {
        store($id, 'PROGRESS', ['step' => $step]);
    }
    store($id, 'SUCCESS', 'done');
};
echo "-- every state\n";
$id = fresh('id');
once_awaited($id, fn () => $progress($id));
var_dump($client->result($id)->get(20, onMessage: function (TaskMeta $meta) use ($id) {
    echo $meta->state, ' ', json_encode($meta->result), ' ', var_export($meta->id === $id, true), "\n";
}));
echo "-- another wait, and a post, inside\n";
[$id, $other] = [fresh('id'), fresh('id')];
once_awaited($id, fn () => $progress($id));
store($other, 'SUCCESS', 'inner');
var_dump($client->results([$id])->get(20, onMessage: function (TaskMeta $meta) use ($client, $other) {
    echo $meta->state, ' ', $client->result($other)->get(20), "\n";
}));
echo "-- it throws\n";
$id = fresh('id');
once_awaited($id, fn () => $progress($id));
$result = $client->result($id);
show(fn () => $result->get(20, onMessage: fn () => throw new DomainException('enough')));
var_dump($result->get(20));
echo "-- it forks, and the child goes on\n";
$id = fresh('id');
$heard = fresh('heard');
once_awaited($id, function () use ($id, $heard) {
    store($id, 'PROGRESS', 1);
    // Both processes listen before the end.
    redis()->blPop([$heard], 20);
    until('two readers', fn () => redis()->pubsub('NUMSUB', ["celery-task-meta-$id"])["celery-task-meta-$id"] === 2);
    store($id, 'SUCCESS', 'for both');
});
$child = null;
$value = $client->result($id)->get(20, onMessage: function (TaskMeta $meta) use (&$child, $heard) {
    if ($child === null && $meta->state === 'PROGRESS') {
        $child = pcntl_fork();
        if ($child === 0) {
            redis()->rPush($heard, 'forked');
        }
    }
});
if ($child === 0) {
    echo "child: $value\n";
    exit(0);
}
pcntl_waitpid($child, $status);
echo "parent: $value\n";
?>
--EXPECT--
-- every state
PROGRESS {"step":1} true
PROGRESS {"step":2} true
SUCCESS "done" true
string(4) "done"
-- another wait, and a post, inside
PROGRESS inner
PROGRESS inner
SUCCESS inner
array(1) {
  [0]=>
  string(4) "done"
}
-- it throws
DomainException: enough
string(4) "done"
-- it forks, and the child goes on
child: for both
parent: for both
