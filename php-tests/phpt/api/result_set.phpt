--TEST--
Celery\ResultSet: many results over one subscription, under the caller's keys, in order or as they come
--EXTENSIONS--
celery
pcntl
posix
--FILE--
<?php
require __DIR__ . '/../support.inc';

use Celery\{Client, GroupResult, Result, ResultSet};

$client = new Client(redis_url());
$prefix = fresh('id');
$id = fn ($name) => "$prefix-$name";
/** Runs PHP code in a child as soon as the first of these tasks is awaited. */
function once_awaited(string $id, callable $then): void
{
    if (pcntl_fork() === 0) {
        until('a reader', fn () => redis()->pubsub('NUMSUB', ["celery-task-meta-$id"])["celery-task-meta-$id"] >= 1);
        $then();
        posix_kill(getmypid(), SIGKILL);
    }
}
echo "-- as an array\n";
$set = $client->results(['x' => $id('x'), 7 => $client->result($id('y')), 'z' => $id('z')]);
var_dump(count($set), isset($set['x'], $set[7]), isset($set['7']), isset($set['none']), $set['x']->id === $id('x'));
foreach ($set as $key => $result) {
    var_dump($key, $result instanceof Result);
}
var_dump(json_encode($set) === json_encode([['id' => $id('x')], ['id' => $id('y')], ['id' => $id('z')]]));
show(fn () => $set['none']);
show(function () use ($set) {
    $set['x'] = 1;
});
show(function () use ($set) {
    unset($set['x']);
});
echo "-- states\n";
$states = fn () => json_encode([$set->ready(), $set->waiting(), $set->successful(), $set->failed(), $set->completedCount()]);
echo $states(), "\n";
store($id('x'), 'SUCCESS', 1);
store($id('y'), 'STARTED', null);
echo $states(), "\n";
show(fn () => $set->get(0));
store($id('y'), 'FAILURE', ['exc_type' => 'ValueError', 'exc_message' => ['boom'], 'exc_module' => 'builtins']);
store($id('z'), 'SUCCESS', [3]);
echo $states(), "\n";
show(fn () => $set->get());
$values = $set->get(propagate: false);
var_dump(array_keys($values), $values['x'], get_class($values[7]), $values['z']);
echo "-- as they come\n";
$ids = array_map($id, ['a', 'b', 'c', 'd']);
store($ids[2], 'SUCCESS', 'c');
once_awaited($ids[0], function () use ($ids) {
    store($ids[3], 'SUCCESS', 'd');
    store($ids[0], 'PROGRESS', 1);
    store($ids[0], 'REVOKED', null);
    store($ids[1], 'SUCCESS', 'b');
});
$set = $client->results(array_combine(['a', 'b', 'c', 'd'], $ids));
foreach ($set->asCompleted(20) as $key => $result) {
    echo $key, ' ', $result->state(), "\n";
}
// A second loop has all of them, and does not ask the backend.
redis()->del(...array_map(fn ($id) => "celery-task-meta-$id", $ids));
var_dump(count(iterator_to_array($set->asCompleted())));
echo "-- leaving the loop ends the subscription\n";
$more = array_map($id, ['e', 'f']);
store($more[1], 'SUCCESS', 'f');
foreach ($client->results($more)->asCompleted() as $key => $result) {
    var_dump($key);
    break;
}
until('the end', fn () => redis()->pubsub('NUMSUB', ["celery-task-meta-{$more[0]}"])["celery-task-meta-{$more[0]}"] === 0);
var_dump($client->result($more[1])->get());
echo "-- too late\n";
try {
    foreach ($client->results($more)->asCompleted(0.2) as $key => $result) {
        var_dump($key);
    }
} catch (Celery\ResultTimeout $e) {
    var_dump($e->pending() === [$more[0]], $e->getCode());
}
try {
    $client->results($more)->get(0.2);
} catch (Celery\ResultTimeout $e) {
    var_dump($e->pending() === [$more[0]]);
}
echo "-- the first failure ends the wait\n";
$last = array_map($id, ['g', 'h']);
once_awaited($last[0], function () use ($last) {
    store($last[1], 'FAILURE', ['exc_type' => 'ValueError', 'exc_message' => ['early'], 'exc_module' => 'builtins']);
});
show(fn () => $client->results($last)->get(20));
echo "-- hundreds\n";
$many = array_map(fn ($nth) => "$prefix-many-$nth", range(0, 499));
once_awaited($many[0], function () use ($many) {
    $redis = redis();
    foreach (array_reverse($many, true) as $nth => $one) {
        $document = json_encode(['status' => 'SUCCESS', 'result' => $nth, 'task_id' => $one]);
        $redis->setex("celery-task-meta-$one", 60, $document);
        $redis->publish("celery-task-meta-$one", $document);
    }
});
var_dump($client->results($many)->get(60) === range(0, 499));
echo "-- nested, empty, settled\n";
$nested = new ResultSet([
    'group' => new GroupResult('g', [Result::succeeded(1), Result::succeeded(2)]),
    'one' => Result::succeeded('x'),
]);
var_dump($nested->get() === ['group' => [1, 2], 'one' => 'x'], $nested->completedCount(), count($nested));
$empty = new ResultSet();
var_dump($empty->get(), $empty->ready(), $empty->successful(), $empty->failed(), iterator_to_array($empty->asCompleted()));
$empty->forget();
$empty->revoke();
echo "-- forget\n";
$set->forget();
store($ids[0], 'SUCCESS', 1);
$client->results($ids)->forget();
var_dump(stored($ids[0]), $client->results($ids)->completedCount());
echo "-- refused\n";
show(fn () => new ResultSet([1]));
show(fn () => new ResultSet((function () {
    yield [] => Result::succeeded(1);
})()));
show(fn () => $client->results(['']));
show(fn () => $client->results([1.5]));
show(fn () => (new ResultSet([$client->result('a'), (new Client(preg_replace('~/\d+$~', '/1', redis_url())))->result('b')]))->ready());
show(fn () => eval('class MySet extends Celery\ResultSet {} return new MySet();'));
?>
--EXPECTF--
-- as an array
int(3)
bool(true)
bool(true)
bool(false)
bool(true)
string(1) "x"
bool(true)
int(7)
bool(true)
string(1) "z"
bool(true)
bool(true)
OutOfBoundsException: This set has no result with the key "none".
LogicException: A set of results is read-only. Make another one: new ResultSet([…]).
LogicException: A set of results is read-only. Make another one: new ResultSet([…]).
-- states
[false,true,false,false,0]
[false,true,false,false,1]
Celery\ResultTimeout (4): 2 results were not there after 0 seconds. Ask again, or allow more time.
[true,false,false,true,2]
Celery\TaskFailed: boom
array(3) {
  [0]=>
  string(1) "x"
  [1]=>
  int(7)
  [2]=>
  string(1) "z"
}
int(1)
string(17) "Celery\TaskFailed"
array(1) {
  [0]=>
  int(3)
}
-- as they come
c SUCCESS
d SUCCESS
a REVOKED
b SUCCESS
int(4)
-- leaving the loop ends the subscription
int(1)
string(1) "f"
-- too late
int(1)
bool(true)
int(4)
bool(true)
-- the first failure ends the wait
Celery\TaskFailed: early
-- hundreds
bool(true)
-- nested, empty, settled
bool(true)
int(2)
int(2)
array(0) {
}
bool(true)
bool(true)
bool(false)
array(0) {
}
-- forget
bool(false)
int(0)
-- refused
ValueError: Celery\ResultSet::__construct(): Argument #1 ($results) must contain only Celery\Result and Celery\GroupResult, int given
ValueError: Celery\ResultSet::__construct(): Argument #1 ($results) must have keys of type int|string, array given
ValueError: Celery\Client::results(): Argument #1 ($ids) has an id that cannot be used: %s
ValueError: Celery\Client::results(): Argument #1 ($ids) must contain only strings and Celery\Result, float given
LogicException: These results are of different result backends. Wait for those of each backend by themselves.
Error: Class MySet cannot extend Celery\ResultSet: only classes of the extension do.
