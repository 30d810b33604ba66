--TEST--
Testing\FakeClient encodes as Client does, records what would be sent, and has results as ordered
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';

use Celery\{Chain, Chord, ClientInterface, Group, ResultTimeout, Signature, TaskFailed, TaskRevoked, Value};
use Celery\Testing\{FakeClient, SentTask};

final class Invoices
{
    public function __construct(private ClientInterface $celery)
    {
    }

    public function total(int $id): string
    {
        return $this->celery->sendTask('invoice.total', [$id])->get(timeout: 2);
    }
}

// No server is asked.
ini_set('celery.connect_timeout', '0.001');
$celery = (new FakeClient())->willReturn('invoice.*', fn (SentTask $sent) => '19.90 for ' . $sent->args[0]);
echo (new Invoices($celery))->total(7), "\n";
$sent = $celery->sent('invoice.total')[0];
echo json_encode([$sent->task, $sent->args, $sent->kwargs, $sent->queue, $sent->headers['task'], $sent->properties['correlation_id'] === $sent->id]), "\n";
echo count($celery->sent()), count($celery->sent('mail.*')), count($celery->canvases()), ' ', get_class($celery->canvases()[0]), "\n";

// Settings that shape messages, and the errors of a real client.
$shaped = new FakeClient('shop', ['mail.*' => ['queue' => 'mails', 'priority' => 3]], 'yaml', 1);
$shaped->sendTask('mail.send', ['1.5'], ['a' => 1], headers: ['x' => 1]);
show(fn () => $shaped->sendTask('mail.send', [Value::decimal('1.5')]));
$shaped->signature('other', [1])->delay(2);
foreach ($shaped->sent() as $task) {
    echo $task->task, ' in ', $task->queue, ' ', json_encode($task->args), json_encode($task->kwargs), ' ', $task->properties['priority'], ' ', json_encode($task->headers), "\n";
}
show(fn () => $celery->sendTask('a', [INF]));
show(fn () => $celery->sendTask('', []));
show(fn () => $celery->sendTask('a', [1 => 1]));
show(fn () => new FakeClient(serializer: 'pickle'));
show(fn () => new FakeClient(routes: ['[z-a]' => 'x']));

// Results: the last answer that matches counts; without one, a result stays pending.
$celery = (new FakeClient())->willReturn('*', 'any')->willReturn('fails', new TaskFailed('broken', type: 'KeyError'))->willReturn('revoked', new TaskRevoked('revoked'))->willReturn('null', null);
echo json_encode([$celery->sendTask('x')->get(), $celery->sendTask('null')->get(), $celery->sendTask('x')->state(), $celery->sendTask('fails')->state(), $celery->sendTask('revoked')->state()]), "\n";
show(fn () => $celery->sendTask('fails')->get());
show(fn () => $celery->sendTask('revoked')->get());
$celery->reset();
$pending = $celery->sendTask('x');
echo $pending->state(), ' ', json_encode([$pending->ready(), $pending->failed()]), "\n";
try {
    $pending->get(60);
} catch (ResultTimeout $e) {
    echo 'pending: ', json_encode($e->pending() === [$pending->id]), "\n";
}
$pending->revoke();
$celery->result('other')->revoke(terminate: true);
echo json_encode($celery->revoked() === [$pending->id, 'other']), "\n";

// Canvases show what is published at once; the last result ends as ordered, too.
$celery->reset();
$celery->willReturn('sum', 10)->willReturn('add', 3);
$add = new Signature('add', [1, 2]);
$chain = $celery->send(new Chain($add, new Signature('mul'), new Signature('sum')));
$group = $celery->send(new Group($add, $add, new Signature('mul')));
$chord = $celery->send(new Chord([$add, $add], new Signature('sum')));
echo implode(' ', array_map(fn (SentTask $task) => $task->task, $celery->sent())), ', ', count($celery->canvases()), " canvases\n";
echo json_encode([$chain->get(), $chain->parent->state(), $chain->parent->parent->get(), $chord->get(), $group->completedCount()]), "\n";
show(fn () => $group->get(1));
$many = $celery->sendTasks(['a' => $add, 'b' => new Signature('sum')]);
echo json_encode($many->get()), ' ', json_encode(array_map(fn ($result) => $result->state(), iterator_to_array($celery->results(['k' => 'id', $many['a']])))), "\n";
var_dump($celery->groupResult('id'));

// Ordered exceptions, and code that throws.
$celery->reset();
$celery->willThrow(new CeleryConnectionException('away'), 2);
foreach ([1, 2, 3] as $try) {
    show(fn () => $celery->sendTask('x')->state());
}
$celery->willReturn('x', fn () => throw new DomainException('from the answer'));
show(fn () => $celery->sendTask('x'));
show(fn () => $celery->willThrow(new CeleryException(), 0));
show(fn () => serialize($celery));
show(fn () => new SentTask());
?>
--EXPECTF--
19.90 for 7
["invoice.total",[7],[],"celery","invoice.total",true]
101 Celery\Signature
CeleryException: The task was not sent: application/x-yaml has no form for a decimal; send it as text, or in JSON.
mail.send in mails ["1.5"]{"a":1} 3 {"x":1}
other in shop [2,1][] 0 []
Celery\Unencodable: The task was not sent: args[0] is not a finite number.
ValueError: Celery\Testing\FakeClient::sendTask(): Argument #1 ($task) cannot be used: task name is empty
ValueError: Celery\Testing\FakeClient::sendTask(): Argument #2 ($args) must be a list
ValueError: Celery\Testing\FakeClient::__construct(): Argument #3 ($serializer) must be "json", "msgpack" or "yaml"
ValueError: Celery\Testing\FakeClient::__construct(): Argument #2 ($routes) must map globs of task names to queues, arrays of options, or closures
["any",null,"SUCCESS","FAILURE","REVOKED"]
Celery\TaskFailed: broken
Celery\TaskRevoked: revoked
PENDING [false,false]
pending: true
true
add add add mul add add, 3 canvases
[10,"PENDING",3,10,2]
Celery\ResultTimeout (4): The result of task %s was not there after 1 seconds. Ask again, or allow more time.
{"a":3,"b":10} {"k":"PENDING","0":"SUCCESS"}
NULL
CeleryConnectionException: away
CeleryConnectionException: away
string(7) "PENDING"
DomainException: from the answer
ValueError: Celery\Testing\FakeClient::willThrow(): Argument #2 ($times) must be greater than 0
Exception: Serialization of 'Celery\Testing\FakeClient' is not allowed
Error: Call to private Celery\Testing\SentTask::__construct() from global scope
