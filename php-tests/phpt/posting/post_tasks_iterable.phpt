--TEST--
PostTasks() accepts everything that foreach accepts
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
class Collection implements IteratorAggregate
{
    public function __construct(private array $items)
    {
    }

    public function getIterator(): Iterator
    {
        return new ArrayIterator($this->items);
    }
}
function rows(int $count, string $name = 'proj.row'): Generator
{
    try {
        for ($i = 0; $i < $count; ++$i) {
            yield [$name, [$i]];
        }
    } finally {
        echo "closed\n";
    }
}
function post(iterable $tasks, bool $results = true): void
{
    $queue = fresh('queue');
    $client = client(['exchange' => $queue]);
    show(function () use ($client, $tasks, $results) {
        $answer = $client->PostTasks($tasks, $results);

        return is_array($answer) ? json_encode(array_map(fn (AsyncResult $result) => $result->getId() !== '', $answer)) : $answer;
    });
    $bodies = [];
    while ($message = message($queue)) {
        $bodies[] = body($message)[0];
    }
    echo json_encode($bodies), "\n";
}
post(rows(3));
post(rows(0));
post(new Collection(['a' => ['proj.row', [1]], 'b' => ['proj.row', [2]]]));
post(new ArrayObject([5 => ['proj.row', [1]], 'x' => ['proj.row', [2]]]));
post(new LimitIterator(new InfiniteIterator(new ArrayIterator([['proj.row', [1]]])), 0, 3), false);
post((function () {
    yield '7' => ['proj.row', [1]];
    yield '07' => ['proj.row', [2]];
    yield -1 => ['proj.row', [3]];
    yield '-9223372036854775808' => ['proj.row', [4]];
})());
$both = function () {
    yield from rows(2);
    yield from rows(2);
};
post($both());
post($both(), false);
post((function () {
    yield 1.5 => ['proj.row', [1]];
})());
post((function () {
    yield 'row' => ['proj.row', [1]];
    yield 'bad' => ['proj.row', ["\xff"]];
    echo "never\n";
})());
post((function () {
    yield ['proj.row', [1]];
    throw new DomainException('mine');
})());
$used = rows(1);
foreach ($used as $row) {
}
post($used);
// A task may be a reference, and other code may use the client while the tasks are read.
post((function () {
    $queue = fresh('queue');
    client(['exchange' => $queue])->PostTask('proj.row', [1], false);
    yield ['proj.row', [(int) redis()->lLen($queue)]];
})());
$queue = fresh('queue');
show(fn () => client(['exchange' => $queue])->PostTasks(new stdClass()));
ini_set('memory_limit', '32M');
show(fn () => client(['exchange' => $queue])->PostTasks((function () {
    for (;;) {
        yield ['proj.row', [str_repeat('x', 1 << 20)]];
    }
})(), false));
// More names than templates are kept: each message then keeps one of its own.
show(fn () => client(['exchange' => $queue])->PostTasks((function () {
    for ($i = 0; $i < 25_000; ++$i) {
        yield [str_repeat('n', 200) . $i, []];
    }
})(), false));
var_dump(redis()->exists($queue));
?>
--EXPECT--
closed
string(16) "[true,true,true]"
[[0],[1],[2]]
closed
string(2) "[]"
[]
string(19) "{"a":true,"b":true}"
[[1],[2]]
string(19) "{"5":true,"x":true}"
[[1],[2]]
bool(true)
[[1],[1],[1]]
string(58) "{"7":true,"07":true,"-1":true,"-9223372036854775808":true}"
[[1],[2],[3],[4]]
closed
CeleryException: No task was sent: tasks[0]: the key occurs twice, and the results have the keys of the tasks. Pass other keys, or false for $async_result.
[]
closed
closed
closed
bool(true)
[[0],[1],[0],[1]]
CeleryException: No task was sent: tasks[a key of the type float]: the key is neither an int nor a string, and the results have the keys of the tasks. Pass other keys, or false for $async_result.
[]
CeleryException: No task was sent: tasks["bad"] (proj.row): $args[0] is not valid UTF-8 (at byte 0).
[]
DomainException: mine
[]
closed
Exception: Cannot traverse an already closed generator
[]
string(6) "[true]"
[[1]]
CeleryException: PostTasks() needs an array (or anything iterable) of tasks, each [$task, $args] or [$task, $args, $task_args].
CeleryException: No task was sent: the messages take more than PHP's memory_limit. Post the tasks in parts.
CeleryException: No task was sent: the messages take more than PHP's memory_limit. Post the tasks in parts.
int(0)
