--TEST--
Client::sendTasks() sends many in one round trip, keeps their keys, and says which were not confirmed
--EXTENSIONS--
celery
--CONFLICTS--
all
--FILE--
<?php
require __DIR__ . '/../support.inc';

use Celery\{Client, Group, PublishFailed, Unencodable};

$queue = fresh();
$client = new Client(redis_url(), queue: $queue);
$add = $client->signature('proj.add');
$calls = fn (string $command): int => (int) (preg_match("/^cmdstat_$command:calls=(\d+)/m", redis()->rawCommand('INFO', 'commandstats'), $found) ? $found[1] : 0);

$results = $client->sendTasks(['a' => $add->s(1, 2), 7 => $add->s(3)->set(priority: 0), 'list' => new Group($add->s(5), $add->s(6))]);
echo get_class($results), ' ', implode(' ', array_keys(iterator_to_array($results))), ', ', redis()->lLen($queue), " messages\n";
echo $results['a']->name, ' ', get_class($results['list']), ' ', count($results['list']), "\n";
$ids = [$results['a']->id, $results[7]->id, $results['list'][0]->id, $results['list'][1]->id];
$sent = [];
while ($message = message($queue)) {
    $sent[] = $message['headers']['id'];
}
var_dump($sent === $ids);

// A generator, and a thousand tasks in few commands.
$before = $calls('lpush');
$many = $client->sendTasks((function () use ($add) {
    foreach (range(1, 1000) as $number) {
        yield "k$number" => $add->s($number, $number);
    }
})());
echo count($many), ' results, ', redis()->lLen($queue), ' messages, ', $calls('lpush') - $before < 100 ? 'few commands' : 'many commands', "\n";
var_dump(array_key_first(iterator_to_array($many)), body(message($queue))[0]);
redis()->del($queue);
var_dump(count($client->sendTasks([])));

// All or nothing is written.
$twice = function () use ($add) {
    yield 'same' => $add;
    yield 'same' => $add;
};
show(fn () => $client->sendTasks($twice()));
show(fn () => $client->sendTasks([$add, 'proj.add']));
show(fn () => $client->sendTasks([$add, $add->s(INF)]));
show(fn () => $client->sendTasks((function () use ($add) {
    yield $add;
    throw new DomainException('from the generator');
})()));
show(fn () => $client->sendTasks((function () use ($add) {
    yield 1.5 => $add;
})()));
show(fn () => $client->sendTasks('proj.add'));
echo redis()->lLen($queue), " messages\n";

// A list that is not a list: those for it are not confirmed, and the others are.
$broken = fresh();
redis()->set($broken, 'text');
try {
    $client->sendTasks(['good' => $add, 'bad' => $add->set(queue: $broken), 5 => new Group($add, $add->set(queue: $broken))]);
} catch (PublishFailed $e) {
    echo json_encode($e->keys()), ' ', count($e->confirmed()), ' ', array_key_first(iterator_to_array($e->confirmed())), ' ',
        count($e->taskIds()), ' ', var_export($e->outcomeUnknown(), true), ' ', redis()->lLen($queue), " messages\n";
}
try {
    $add->set(queue: $broken)->delay(1);
} catch (PublishFailed $e) {
    echo json_encode($e->keys()), ' ', count($e->confirmed()), ' ', $e->taskId() === $e->taskIds()[0] ? 'its id' : 'another id', "\n";
}
show(fn () => (new Client('redis://127.0.0.1:1'))->sendTasks([$add, $add], retry: false));
?>
--EXPECTF--
Celery\ResultSet a 7 list, 4 messages
proj.add Celery\GroupResult 2
bool(true)
1000 results, 1000 messages, few commands
string(2) "k1"
array(2) {
  [0]=>
  int(1)
  [1]=>
  int(1)
}
int(0)
ValueError: Celery\Client::sendTasks(): Argument #1 ($tasks) must not have a key twice: the results have its keys
ValueError: Celery\Client::sendTasks(): Argument #1 ($tasks) must contain only Celery\Canvas, string given
Celery\Unencodable: The task was not sent: %Sargs[0] is not a finite number.
DomainException: from the generator
ValueError: Celery\Client::sendTasks(): Argument #1 ($tasks) must have keys of type int|string
TypeError: Celery\Client::sendTasks(): Argument #1 ($tasks) must be of type %s, string given
0 messages
["bad",5] 1 good 2 false 2 messages
[] 0 its id
CeleryConnectionException: %s
