--TEST--
PostTasks() posts many tasks at once, and answers under their keys
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
$queue = fresh('queue');
$client = client(['exchange' => $queue]);
$results = $client->PostTasks(
    ['a' => ['proj.add', [1, 2]], 7 => ['proj.mul', ['x' => 3], ['retries' => 2]], ['proj.echo', [[]]]],
    task_args: ['retries' => 1, 'traceparent' => 'tp'],
);
var_dump(array_keys($results));
foreach ($results as $result) {
    $message = message($queue);
    var_dump($message['headers']['id'] === $result->getId());
    echo $message['headers']['task'], ' ', json_encode(array_slice(body($message), 0, 2)), ' ', $message['headers']['retries'], ' ', $message['headers']['traceparent'], "\n";
}
var_dump($client->PostTasks([['proj.add', [1, 2]]], false, "$queue-other"), $client->PostTasks([]), redis()->lLen("$queue-other"));
show(fn () => $client->PostTasks([['proj.add', [1]], ['proj.add', ["\xff"]]]));
show(fn () => $client->PostTasks([['proj.add', [1]], 'proj.add']));
show(fn () => $client->PostTasks('proj.add'));
var_dump(redis()->exists($queue));
?>
--EXPECT--
array(3) {
  [0]=>
  string(1) "a"
  [1]=>
  int(7)
  [2]=>
  int(8)
}
bool(true)
proj.add [[1,2],{}] 1 tp
bool(true)
proj.mul [[],{"x":3}] 2 tp
bool(true)
proj.echo [[[]],{}] 1 tp
bool(true)
array(0) {
}
int(1)
CeleryException: No task was sent: tasks[1] (proj.add): $args[0] is not valid UTF-8 (at byte 0).
CeleryException: No task was sent: tasks[1]: each task of PostTasks() is [$task, $args] or [$task, $args, $task_args], and this one is of the type string.
CeleryException: PostTasks() needs an array (or anything iterable) of tasks, each [$task, $args] or [$task, $args, $task_args].
int(0)
