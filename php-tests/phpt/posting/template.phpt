--TEST--
A post without $task_args has the bytes of one whose $task_args change nothing, for any names, also in a fork
--EXTENSIONS--
celery
pcntl
--FILE--
<?php
require __DIR__ . '/../support.inc';
$queue = fresh('queue');
$client = client();

/** Returns a queued message with its own ids replaced. */
function without_ids(string $raw): string
{
    return preg_replace('/[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/', 'ID', $raw);
}

/** Posts each task in both forms, and counts those whose messages are equal. */
function equal(Celery $client, string $queue, array $tasks): int
{
    $equal = 0;
    foreach ($tasks as [$name, $args]) {
        $client->PostTask($name, $args, false, $queue);
        $client->PostTask($name, $args, false, $queue, ['retries' => 0]);
        $client->PostTasks([[$name, $args], [$name, $args, ['timelimit' => null]]], false, $queue);
        $raws = array_map(fn () => without_ids(redis()->rPop($queue)), range(1, 4));
        $equal += (int) (count(array_unique($raws)) === 1);
    }

    return $equal;
}

$five = 5;
$arguments = [
    [], [1], ['a' => 1], [[]], ['k' => []], [2 => 'x'], [null, true, 1.5, -7], ["it's", 'say "hi"', "both ' and \""],
    ['é☃𝄞', "a\n\\\x00\x7f"], [str_repeat('x', 5000)], ['k' => str_repeat('é', 3000)], [[[[[1]]]]], [&$five, [&$five]],
    [new ArrayObject(['a' => 1])], array_fill(0, 2000, 'word'), array_diff_key([1, 2, 3], [2 => 0]),
];
$tasks = array_map(fn ($args) => ['proj.add', $args], $arguments);
foreach (["a\"b\\c", '\u0001', '"\u0001"', 'é', str_repeat('n', 255)] as $name) {
    $tasks[] = [$name, [1]];
}
echo equal($client, $queue, $tasks) - count($tasks), "\n";

// More names than are kept, twice.
$many = array_map(fn ($n) => ["task.$n", [$n]], range(1, 50));
echo equal($client, $queue, [...$many, ...$many]), "\n";
// Another queue, and a name that was used before.
echo equal($client, "$queue\"2", [['task.50', [1]], ['proj.add', ['a' => 1]]]), "\n";

$client->PostTask('proj.add', [1], false, $queue);
$parent = redis()->rPop($queue);
if (($child = pcntl_fork()) === 0) {
    $client->PostTask('proj.add', [1], false, $queue);
    exit;
}
pcntl_waitpid($child, $status);
$own = json_decode(redis()->rPop($queue), true);
$parent = json_decode($parent, true);
var_dump($own['headers']['origin'] === "php$child@" . gethostname(), $own['properties']['reply_to'] !== $parent['properties']['reply_to']);

// A refused name is refused each time, and says why.
foreach (["a\nb", '', "a\nb"] as $name) {
    show(fn () => $client->PostTask($name, [1], false, $queue));
}
show(fn () => $client->PostTask('proj.add', [1], false, "q\t"));
var_dump(redis()->lLen($queue));
?>
--EXPECT--
0
100
2
bool(true)
bool(true)
CeleryException: The task was not sent: the task name cannot be used: task name has the control character '\n' at byte 1.
CeleryException: The task was not sent: the task name cannot be used: task name is empty.
CeleryException: The task was not sent: the task name cannot be used: task name has the control character '\n' at byte 1.
CeleryException: The task was not sent: the queue cannot be used: queue name has the control character '\t' at byte 1.
int(0)
