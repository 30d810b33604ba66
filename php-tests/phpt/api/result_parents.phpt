--TEST--
get() throws the failure of an earlier step of a chain, for which Celery stores nothing later
--EXTENSIONS--
celery
pcntl
posix
--FILE--
<?php
require __DIR__ . '/../support.inc';

use Celery\{Chain, Client, Result, TaskMeta};

$client = new Client(redis_url(), queue: fresh('queue'));
$chain = fn (): Result => (new Chain(...array_map(fn (string $name) => $client->signature($name), ['a', 'b', 'c'])))->delay();
$failure = fn (string $why): array => ['exc_type' => 'ValueError', 'exc_module' => 'builtins', 'exc_message' => [$why]];
/** Awaits the last result and says what came. */
function tell(Result $last, float $timeout = 60, mixed ...$options): void
{
    try {
        $value = $last->get($timeout, ...$options);
        echo $value instanceof Throwable ? 'returned ' . get_class($value) : json_encode($value), "\n";
    } catch (CeleryException $e) {
        echo get_class($e), ': ', $e->getMessage(), $e instanceof Celery\TaskException ? '' : " $timeout", "\n";
    }
}
echo "-- it has failed before\n";
$last = $chain();
store($last->parent->parent->id, 'FAILURE', $failure('first'));
tell($last);
var_dump($last->parent->parent->failed(), $last->state());
$last = $chain();
store($last->parent->id, 'FAILURE', $failure('second'));
tell($last, 0);
$last = $chain();
store($last->parent->parent->id, 'FAILURE', $failure('first'));
store($last->parent->id, 'FAILURE', $failure('second'));
store($last->id, 'FAILURE', $failure('third'));
tell($last);
$last = $chain();
store($last->parent->id, 'REVOKED', ['exc_type' => 'TaskRevokedError', 'exc_module' => 'celery.exceptions', 'exc_message' => ['revoked']]);
tell($last);
echo "-- it fails meanwhile\n";
$last = $chain();
if (pcntl_fork() === 0) {
    $channel = "celery-task-meta-{$last->parent->parent->id}";
    until('a reader', fn () => redis()->pubsub('NUMSUB', [$channel])[$channel] >= 1);
    store($last->parent->parent->id, 'PROGRESS', 1);
    store($last->id, 'STARTED', null);
    store($last->parent->id, 'FAILURE', $failure('meanwhile'));
    posix_kill(getmypid(), SIGKILL);
}
tell($last, 60, onMessage: function (TaskMeta $meta) use ($last): void {
    var_dump($meta->id === $last->id, $meta->state);
});
echo "-- its parents are of no interest\n";
$last = $chain();
store($last->parent->id, 'FAILURE', $failure('second'));
tell($last, 0.2, propagate: false);
$last = $chain();
redis()->setex("celery-task-meta-{$last->parent->id}", 60, 'not a result');
store($last->id, 'SUCCESS', 3);
tell($last);
$last = $chain();
store($last->id, 'SUCCESS', 'without the results of its parents');
tell($last);
?>
--EXPECTF--
-- it has failed before
Celery\TaskFailed: first
bool(true)
string(7) "PENDING"
Celery\TaskFailed: second
Celery\TaskFailed: first
Celery\TaskRevoked: revoked
-- it fails meanwhile
bool(true)
string(7) "STARTED"
Celery\TaskFailed: meanwhile
-- its parents are of no interest
Celery\ResultTimeout: The result of task %s was not there after 0.2 seconds. Ask again, or allow more time. 0.2
3
"without the results of its parents"
