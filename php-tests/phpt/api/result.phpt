--TEST--
Celery\Result: waiting, states, what is stored, forgetting
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';

use Celery\{Client, Result, State, TaskMeta};

$client = new Client(redis_url());
$id = fresh('id');
$result = $client->result($id);
echo "-- nothing is stored\n";
var_dump($result->ready(), $result->successful(), $result->failed(), $result->state(), $result->children());
var_dump($result->meta()->ready(), $result->meta()->known(), $result->meta()->result);
show(fn () => $result->get(0));
try {
    $result->get(timeout: 0.2);
} catch (Celery\ResultTimeout $e) {
    var_dump($e instanceof CeleryTimeoutException, $e->getCode(), $e->pending() === [$id]);
}
echo "-- a state of the task\n";
store($id, 'PROGRESS', ['done' => 3]);
var_dump($result->ready(), $result->state(), $result->meta()->known(), $result->meta()->result);
echo "-- success\n";
store($id, 'SUCCESS', ['sum' => 5.5, 'big' => 1, 'empty' => [], 'text' => "\u{20ac}"]);
var_dump($result->get(), $result->get() === $result->get(new DateInterval('PT5S')));
var_dump($result->ready(), $result->successful(), $result->failed(), $result->state());
// The final state is kept, and the stored one stays.
var_dump(stored($id));
redis()->del("celery-task-meta-$id");
var_dump($result->get(), $result->state(), json_encode($result) === json_encode(['id' => $id]));
$result->forget();
var_dump($result->state());
echo "-- for tests\n";
$given = new stdClass();
$fine = Result::succeeded($given);
var_dump($fine->id, $fine->get() === $given, $fine->ready(), $fine->successful(), $fine->state(), $fine->meta()->result === $given);
$bad = Result::failedWith(new Celery\TaskFailed('no', 'x1', 'ValueError', arguments: ['no', 1]));
var_dump($bad->id, $bad->failed(), $bad->state());
show(fn () => $bad->get());
var_dump($bad->get(propagate: false)->arguments());
show(fn () => Result::failedWith(new Celery\TaskRevoked('terminated'))->state());
$fine->forget();
$fine->revoke();
var_dump($fine->get() === $given);
show(fn () => $fine->toAsyncResult());
echo "-- wrong arguments\n";
show(fn () => $result->get(-1));
show(fn () => $result->get(interval: NAN));
show(fn () => $result->get('soon'));
show(fn () => new Result());
show(fn () => $client->result(''));
show(function () use ($fine) {
    $fine->id = 'other';
});
show(fn () => (new ReflectionMethod(TaskMeta::class, '__construct'))->isPrivate());
?>
--EXPECTF--
-- nothing is stored
bool(false)
bool(false)
bool(false)
string(7) "PENDING"
array(0) {
}
bool(false)
enum(Celery\State::Pending)
NULL
Celery\ResultTimeout (4): The result of task id-%s was not there after 0 seconds. Ask again, or allow more time.
bool(true)
int(4)
bool(true)
-- a state of the task
bool(false)
string(8) "PROGRESS"
NULL
array(1) {
  ["done"]=>
  int(3)
}
-- success
array(4) {
  ["sum"]=>
  float(5.5)
  ["big"]=>
  int(1)
  ["empty"]=>
  array(0) {
  }
  ["text"]=>
  string(3) "€"
}
bool(true)
bool(true)
bool(true)
bool(false)
string(7) "SUCCESS"
bool(true)
array(4) {
  ["sum"]=>
  float(5.5)
  ["big"]=>
  int(1)
  ["empty"]=>
  array(0) {
  }
  ["text"]=>
  string(3) "€"
}
string(7) "SUCCESS"
bool(true)
string(7) "PENDING"
-- for tests
string(4) "test"
bool(true)
bool(true)
bool(true)
string(7) "SUCCESS"
bool(true)
string(2) "x1"
bool(true)
string(7) "FAILURE"
Celery\TaskFailed: no
array(2) {
  [0]=>
  string(2) "no"
  [1]=>
  int(1)
}
string(7) "REVOKED"
bool(true)
LogicException: This result has no client: it was made by Result::succeeded(), Result::failedWith() or a FakeClient.
-- wrong arguments
ValueError: Celery\Result::get(): Argument #1 ($timeout) must be greater than or equal to 0
ValueError: Celery\Result::get(): Argument #4 ($interval) must be greater than or equal to 0
TypeError: Celery\Result::get(): Argument #1 ($timeout) must be of type DateInterval|float|null, string given
Error: Call to private Celery\Result::__construct() from %s
ValueError: Celery\Client::result(): Argument #1 ($id) cannot be used: %s
Error: Cannot modify readonly property Celery\Result::$id
bool(true)
