--TEST--
The queue of a call is that of a chord's header and body, and the client's queue that of what it sends itself, as in Python
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';

use Celery\{Chain, Chord, Client};

$queue = fresh();
$client = new Client(redis_url());
$add = $client->signature('proj.add');
$chord = new Chord([$add->s(1, 2), $add->s(3, 4)], $client->signature('proj.xsum'));
$chain = new Chain($add->s(1, 2), $add->s(3), $add->s(4)->set(queue: 'own'));

/** Shows the queue in the options of what a worker sends later: the body of a chord, the steps of a chain. */
$later = function () use ($queue): void {
    while (($message = message($queue)) !== null) {
        $embed = body($message)[2];
        $next = $embed->chord === null ? $embed->chain ?? [] : [$embed->chord];
        echo $message['headers']['task'], ' -> ', json_encode(array_map(fn ($task) => [$task->task, isset($task->options->queue)
            ? str_replace($queue, 'given', $task->options->queue) : null], $next)), "\n";
    }
};
$chord->bind($client)->applyAsync(queue: $queue);
$later();
$client->with(queue: $queue)->send($chord);
$later();
$chain->bind($client)->applyAsync(queue: $queue);
$later();
$client->with(queue: $queue)->send($chain);
$later();
?>
--EXPECT--
proj.add -> [["proj.xsum","given"]]
proj.add -> [["proj.xsum","given"]]
proj.add -> [["proj.xsum",null]]
proj.add -> [["proj.xsum",null]]
proj.add -> [["proj.add","own"],["proj.add",null]]
proj.add -> [["proj.add","own"],["proj.add",null]]
