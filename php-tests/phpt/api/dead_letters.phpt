--TEST--
Client::deadLetters() reads, puts back and deletes dead letters; waitingTasks() lists a queue
--EXTENSIONS--
celery
--CONFLICTS--
all
--FILE--
<?php
require __DIR__ . '/../support.inc';

use Celery\Client;
use Celery\DeadLetter;

const DATABASE = 6;
$redis = redis(DATABASE);
$redis->flushDB();
$client = new Client('redis://127.0.0.1:' . redis_port() . '/' . DATABASE, queue: 'math');
$client->sendTask('proj.add', [1, 'zwei', null], ['key' => true]);
$client->signature('proj.late', priority: 9, eta: new DateTimeImmutable('2030-01-02T03:04:05+00:00'), argsrepr: "('hidden',)")->delay();
$redis->lPush('math', 'no message');

echo "Waiting tasks\n";
$show = fn ($task) => print json_encode($task) . "\n";
$tasks = $client->waitingTasks();
foreach ($tasks as $task) {
    var_dump($task->size > 5);
    $show(['id' => $task->id !== null, 'size' => 0] + (array) $task);
}
var_dump(count($client->waitingTasks('math', 2)), $client->waitingTasks('nothing'), $client->queueLengths());

echo "Dead letters\n";
$letters = $client->deadLetters();
var_dump(count($letters), $letters->newest());
$dead = function (string $place, string $raw, string $cause = 'not-registered', string $queue = 'math') use ($redis): void {
    $redis->xAdd('celery.dead', $place, ['queue' => $queue, 'id' => '', 'task' => '', 'cause' => $cause, 'worker' => 'w@h', 'time' => '5', 'raw' => $raw]);
};
$message = $redis->rPop('math');
$dead('1700000000000-0', $message);
$dead('1700000000500-1', 'no message', 'not-an-object');
$dead('1700000001000-0', '{}', 'follow-up');
$dead('1700000002000-0', '{}', 'envelope', '');
$redis->set('rs.redelivered.' . json_decode($message)->properties->delivery_tag, 3);
var_dump(count($letters));
foreach ($letters->newest() as $letter) {
    $show(['id' => $letter->id !== null] + (array) $letter);
}
$places = fn (array $letters) => array_map(fn (DeadLetter $letter) => $letter->place, $letters);
$show($places($letters->newest(2)));
$show($places($letters->newest(10, before: '1700000001000-0')));
var_dump($letters->find('1700000000500-1')->cause, $letters->find('1700000000500-2'));
var_dump($letters->message('1700000000000-0') === $message, $letters->message('1-1'));

echo "Put back\n";
var_dump($letters->replay('1700000000000-0'), $letters->replay('1700000000000-0'));
var_dump($redis->lRange('math', 0, 0) === [$message], $redis->exists('rs.redelivered.' . json_decode($message)->properties->delivery_tag));
show(fn () => $letters->replay('1700000001000-0'));
show(fn () => $letters->replay('1700000002000-0'));
var_dump($letters->delete('1700000001000-0'), $letters->delete('1700000001000-0'), count($letters));

echo "Refused\n";
show(fn () => $letters->find('-'));
show(fn () => $letters->replay("5-0\n"));
show(fn () => $letters->newest(0));
show(fn () => $letters->newest(1001));
show(fn () => $letters->newest(5, 'all'));
show(fn () => $client->waitingTasks('math', -1));
show(fn () => $client->waitingTasks(''));
show(fn () => new Celery\DeadLetters());
show(fn () => serialize($letters));
show(fn () => count((new Client('redis://:s3cret@127.0.0.1:1'))->deadLetters()));
show(fn () => (new Client('redis://:s3cret@127.0.0.1:1'))->waitingTasks('math'));
$redis->flushDB();
?>
--EXPECTF--
Waiting tasks
bool(true)
{"id":true,"size":0,"task":"proj.add","argsrepr":"(1, 'zwei', None)","kwargsrepr":"{'key': True}","eta":null,"priority":0}
bool(true)
{"id":false,"size":0,"task":null,"argsrepr":null,"kwargsrepr":null,"eta":null,"priority":0}
bool(true)
{"id":true,"size":0,"task":"proj.late","argsrepr":"('hidden',)","kwargsrepr":"{}","eta":{"date":"2030-01-02 03:04:05.000000","timezone_type":1,"timezone":"+00:00"},"priority":9}
int(2)
array(0) {
}
array(1) {
  ["math"]=>
  int(3)
}
Dead letters
int(0)
array(0) {
}
int(4)
{"id":false,"place":"1700000002000-0","queue":"","task":null,"cause":"envelope","worker":"w@h","timestamp":1700000002,"argsrepr":null,"kwargsrepr":null,"size":2}
{"id":false,"place":"1700000001000-0","queue":"math","task":null,"cause":"follow-up","worker":"w@h","timestamp":1700000001,"argsrepr":null,"kwargsrepr":null,"size":2}
{"id":false,"place":"1700000000500-1","queue":"math","task":null,"cause":"not-an-object","worker":"w@h","timestamp":1700000000.5,"argsrepr":null,"kwargsrepr":null,"size":10}
{"id":true,"place":"1700000000000-0","queue":"math","task":"proj.add","cause":"not-registered","worker":"w@h","timestamp":1700000000,"argsrepr":"(1, 'zwei', None)","kwargsrepr":"{'key': True}","size":%d}
["1700000002000-0","1700000001000-0"]
["1700000000500-1","1700000000000-0"]
string(13) "not-an-object"
NULL
bool(true)
NULL
Put back
bool(true)
bool(false)
bool(true)
int(0)
CeleryException: The dead letter 1700000001000-0 cannot be put back: it is the signature of a task, not a message.
CeleryException: The dead letter 1700000002000-0 cannot be put back: its queue is unknown.
bool(true)
bool(false)
int(2)
Refused
ValueError: Celery\DeadLetters::find(): Argument #1 ($place) must be the place of a dead letter, such as 1700000000000-0
ValueError: Celery\DeadLetters::replay(): Argument #1 ($place) must be the place of a dead letter, such as 1700000000000-0
ValueError: Celery\DeadLetters::newest(): Argument #1 ($limit) must be between 1 and 1000
ValueError: Celery\DeadLetters::newest(): Argument #1 ($limit) must be between 1 and 1000
ValueError: Celery\DeadLetters::newest(): Argument #2 ($before) must be the place of a dead letter, such as 1700000000000-0
ValueError: Celery\Client::waitingTasks(): Argument #2 ($limit) must be between 1 and 1000
ValueError: Celery\Client::waitingTasks(): Argument #1 ($queue) cannot be used: queue name is empty
Error: Call to private Celery\DeadLetters::__construct() from %s
Exception: Serialization of 'Celery\DeadLetters' is not allowed
CeleryConnectionException: Could not count the dead letters on redis://:********@127.0.0.1:1/0: Connection refused%s
CeleryConnectionException: Could not read the waiting tasks on redis://:********@127.0.0.1:1/0: Connection refused%s
