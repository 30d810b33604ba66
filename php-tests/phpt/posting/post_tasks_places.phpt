--TEST--
PostTasks() names the key, the task and the place of a value that cannot be sent, and sends nothing
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
class Broken implements JsonSerializable
{
    public function jsonSerialize(): mixed
    {
        throw new DomainException('mine');
    }
}
enum Pure
{
    case One;
}
$queue = fresh('queue');
$client = client(['exchange' => $queue]);
$rows = array_fill(0, 7, ['proj.row', [1, 'a']]);
$long = str_repeat('k', 400);
foreach ([
    [...$rows, ['proj.row', [1, "\xff"]]],
    ['a' => ['proj.row', ['x' => 1]], 'b c' => ['proj.row', ['x' => ['y' => "\xff"]]]],
    [-3 => ['proj.row', [[(object) ['list' => [0, INF]]]]]],
    ["k\xff" => ['proj.row', [Pure::One]]],
    [['proj.row', [1]], ['proj.row', 'none']],
    [['proj.row', [1], ['eta' => 'tomorrow']]],
    [['proj.row', [1], ['tenant' => ["\xff"]]]],
    [['proj.row', [1], 'options']],
    [['proj.row', [1]], ['', [1]]],
    [['proj.row', [1]], ["proj\nrow", [1]]],
    [["proj\xff", [1]]],
    [[['proj.row'], [1]]],
    [['proj.row']],
    [[]],
    [null],
    [['proj.row', [1], ['id' => '']]],
] as $tasks) {
    show(fn () => $client->PostTasks($tasks));
}
try {
    $client->PostTasks([$long => ['proj.row', [NAN]]]);
} catch (CeleryException $e) {
    echo strlen($e->getMessage()), "\n";
}
show(fn () => $client->PostTasks([['proj.row', [1]], ['proj.row', [new Broken()]]]));
show(fn () => $client->PostTasks([['proj.row', [1]]], true, "no\nqueue"));
show(fn () => $client->PostTask('proj.row', [1, "\xff"]));
var_dump(redis()->exists($queue));
?>
--EXPECTF--
CeleryException: No task was sent: tasks[7] (proj.row): $args[1] is not valid UTF-8 (at byte 0).
CeleryException: No task was sent: tasks["b c"] (proj.row): $args["x"]["y"] is not valid UTF-8 (at byte 0).
CeleryException: No task was sent: tasks[-3] (proj.row): $args[0][0]->list[1] is INF, which JSON cannot express.
CeleryException: No task was sent: tasks["k%s"] (proj.row): $args[0] is the case of an enum without values (Pure), which JSON cannot express.
CeleryException: No task was sent: tasks[1] (proj.row): Args must be an array, string given. %s
CeleryException: No task was sent: tasks[0] (proj.row): the option eta cannot be read as a time: %s
CeleryException: No task was sent: tasks[0] (proj.row): option "tenant"[0] is not valid UTF-8 (at byte 0).
CeleryException: No task was sent: tasks[0] (proj.row): $task_args must be an array, string given.
CeleryException: No task was sent: tasks[1]: the task name cannot be used: %s
CeleryException: No task was sent: tasks[1]: the task name cannot be used: %s
CeleryException: No task was sent: tasks[0]: each task of PostTasks() is [$task, $args] or [$task, $args, $task_args], and this one has a name that is not valid UTF-8.
CeleryException: No task was sent: tasks[0]: each task of PostTasks() is [$task, $args] or [$task, $args, $task_args], and this one has a name of the type array.
CeleryException: No task was sent: tasks[0]: each task of PostTasks() is [$task, $args] or [$task, $args, $task_args], and this one lacks one of them.
CeleryException: No task was sent: tasks[0]: each task of PostTasks() is [$task, $args] or [$task, $args, $task_args], and this one lacks one of them.
CeleryException: No task was sent: tasks[0]: each task of PostTasks() is [$task, $args] or [$task, $args, $task_args], and this one is of the type null.
CeleryException: No task was sent: tasks[0] (proj.row): the task id cannot be used: %s
%d
DomainException: mine
CeleryException: No task was sent: tasks[0] (proj.row): the queue cannot be used: %s
CeleryException: The task was not sent: $args[1] is not valid UTF-8 (at byte 0).
int(0)
