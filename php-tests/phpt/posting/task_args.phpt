--TEST--
$task_args are fields of protocol 1, moved to their place in protocol 2; others become headers
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
$queue = fresh('queue');
$client = client(['exchange' => $queue]);
$signature = ['task' => 'proj.next', 'args' => [], 'kwargs' => new stdClass(), 'options' => new stdClass(), 'subtask_type' => null, 'immutable' => false];
$result = $client->PostTask('proj.add', [1], true, 'celery', [
    'id' => "own-$queue", 'task' => 'proj.other', 'args' => [2, 3], 'kwargs' => ['z' => 1],
    'eta' => '2030-01-02T03:04:05+00:00', 'expires' => new DateTimeImmutable('2031-01-01 00:00:00', new DateTimeZone('UTC')),
    'retries' => 3, 'timelimit' => [10, null], 'callbacks' => $signature, 'errbacks' => [$signature], 'priority' => 0,
    'utc' => true, 'shadow' => 'shown', 'group' => 'g-1', 'group_index' => 2,
    'traceparent' => '00-abc-01', 'x-tags' => ['a', 'b'],
]);
$message = message($queue);
$headers = $message['headers'];
[$args, $kwargs, $embed] = body($message);
foreach (['task', 'eta', 'expires', 'retries', 'timelimit', 'shadow', 'group', 'group_index', 'traceparent', 'x-tags'] as $name) {
    echo $name, ': ', json_encode($headers[$name]), "\n";
}
var_dump($headers['id'] === "own-$queue", $result->getId() === "own-$queue", $headers['root_id'] === "own-$queue");
echo json_encode([$args, $kwargs]), "\n";
echo json_encode([count($embed->callbacks), $embed->callbacks[0]->task, count($embed->errbacks), $embed->chain, $embed->chord]), "\n";
var_dump(is_string($message['properties']['expiration']) && (int) $message['properties']['expiration'] > 0);

foreach ([['eta' => 'tomorrow'], ['eta' => []], ['expires' => INF], ['retries' => 'x'], ['retries' => -1], ['timelimit' => 5],
    ['priority' => 10], ['args' => ['a' => 1]], ['kwargs' => [1]], ['callbacks' => 5], ['id' => ''], ['id' => []], ['id' => "a\nb"]] as $bad) {
    show(fn () => $client->PostTask('proj.add', [1], true, 'celery', $bad));
}
$before = time();
$client->PostTask('proj.add', [1], true, 'celery', ['countdown' => 100, 'expires' => 200.5]);
$headers = message($queue)['headers'];
var_dump(abs(strtotime($headers['eta']) - $before - 100) < 60, abs(strtotime($headers['expires']) - $before - 200) < 60);
?>
--EXPECTF--
task: "proj.other"
eta: "2030-01-02T03:04:05+00:00"
expires: "2031-01-01T00:00:00+00:00"
retries: 3
timelimit: [%f,null]
shadow: "shown"
group: "g-1"
group_index: 2
traceparent: "00-abc-01"
x-tags: ["a","b"]
bool(true)
bool(true)
bool(true)
[[2,3],{"z":1}]
[1,"proj.next",1,null,null]
bool(true)
CeleryException: The task was not sent: the option eta cannot be read as a time: %s
CeleryException: The task was not sent: the option eta must be ISO 8601 text or a DateTimeInterface, array given.
CeleryException: The task was not sent: the option expires must be a number, float given.
CeleryException: The task was not sent: the option retries must be a whole number in its range, string given.
CeleryException: The task was not sent: the option retries must be a whole number in its range, int given.
CeleryException: The task was not sent: the option timelimit must be [hard, soft].
CeleryException: The task was not sent: the option priority must be from 0 (on Redis the highest) to 9.
CeleryException: The task was not sent: the option args must be a list.
CeleryException: The task was not sent: the option kwargs must be an array with names as keys.
CeleryException: The task was not sent: the option callbacks must be a signature or a list of signatures.
CeleryException: The task was not sent: the task id cannot be used: %s
CeleryException: The task was not sent: the option id must be a string, array given.
CeleryException: The task was not sent: the task id cannot be used: %s
bool(true)
bool(true)
