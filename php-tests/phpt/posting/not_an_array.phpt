--TEST--
Arguments that are not an array are refused
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
$client = client();
foreach ([null, '2, 3', 5, 1.5, false, new stdClass(), new ArrayObject([1])] as $args) {
    show(fn () => $client->PostTask('proj.add', $args));
}
show(fn () => $client->PostTask('proj.add'));
show(fn () => $client->PostTask('proj.add', [], task_args: 'x'));
?>
--EXPECTF--
CeleryException: Args must be an array, null given. %s
CeleryException: Args must be an array, string given. %s
CeleryException: Args must be an array, int given. %s
CeleryException: Args must be an array, float given. %s
CeleryException: Args must be an array, bool given. %s
CeleryException: Args must be an array, stdClass given. %s
CeleryException: Args must be an array, ArrayObject given. %s
ArgumentCountError: %s
CeleryException: The task was not sent: $task_args must be an array, string given.
