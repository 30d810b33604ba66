--TEST--
Steps and separator of the lists come from the arguments, the URL or php.ini
--EXTENSIONS--
celery
--INI--
celery.priority_steps=0,5
celery.priority_sep=":"
--FILE--
<?php
require __DIR__ . '/../support.inc';
/** Returns the names of the queue's lists, without the name of the queue. */
function lists(string $queue): string
{
    $names = array_map(fn ($name) => substr($name, strlen($queue)), redis()->keys("$queue*"));
    sort($names, SORT_STRING);

    return json_encode($names);
}
$post = function (callable $make): void {
    $queue = fresh('queue');
    $client = $make($queue);
    foreach ([null, 0, 1, 4, 5, 9] as $priority) {
        $client->PostTask('proj.echo', [], false, 'celery', $priority === null ? [] : ['priority' => $priority]);
    }
    echo lists($queue), "\n";
};
$post(fn ($queue) => client(['exchange' => $queue]));
$post(fn ($queue) => new CeleryAdvanced(['priority_steps' => range(0, 9), 'sep' => '-'] + arguments(['exchange' => $queue])));
$post(fn ($queue) => new CeleryAdvanced(['priority_steps' => '0, 9', 'sep' => null] + arguments(['exchange' => $queue])));
$post(fn ($queue) => new Celery(redis_url() . '?priority_steps=0,1&sep=%7C%7C', null, null, null, $queue));
$post(fn ($queue) => new Celery\CeleryAdvanced(['priority_steps' => [0], 'exchange' => $queue] + arguments()));
$wrong = [
    ['priority_steps' => [3, 6]], ['priority_steps' => [0, 'x']], ['priority_steps' => [0, 9, 6]],
    ['priority_steps' => []], ['priority_steps' => '0,10'], ['sep' => '123456789'], ['sep' => ['x']],
    ['priority_steps' => [0, 9], 'host' => redis_url() . '?priority_steps=0,5'],
];
foreach ($wrong as $details) {
    show(fn () => new CeleryAdvanced($details + arguments()));
}
show(fn () => new Celery('redis://h?sep=', null, null, null));
?>
--EXPECT--
["",":5"]
["","-1","-4","-5","-9"]
["",":9"]
["","||1"]
[""]
CeleryException: These connection arguments cannot be used: the first of the priority_steps must be 0, for messages of the most urgent priority.
CeleryException: These connection arguments cannot be used: priority_steps is a list of numbers from 0 to 9, such as 0,3,6,9.
CeleryException: These connection arguments cannot be used: the priority_steps must ascend, and none may come twice.
CeleryException: These connection arguments cannot be used: priority_steps is a list of numbers from 0 to 9, such as 0,3,6,9.
CeleryException: These connection arguments cannot be used: priority_steps is a list of numbers from 0 to 9, such as 0,3,6,9.
CeleryException: These connection arguments cannot be used: sep must have 1 to 8 bytes.
CeleryException: The connection argument sep must be a string of valid UTF-8, array given.
CeleryException: These connection arguments cannot be used: contradicting options: priority_steps beside a URL with others.
CeleryException: These connection arguments cannot be used: sep must have 1 to 8 bytes.
