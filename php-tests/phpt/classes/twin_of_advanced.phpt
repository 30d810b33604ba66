--TEST--
Celery\CeleryAdvanced: two arrays, $options, failures as values, results kept
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
$queue = fresh('queue');
$client = new Celery\CeleryAdvanced(arguments(['exchange' => $queue]), arguments(['vhost' => 2]));
$result = $client->PostTask('proj.add', [2, 3], options: ['retries' => 4]);
var_dump($client instanceof CeleryAdvanced, $client instanceof Celery\CeleryAbstract, message($queue)['headers']['retries']);
store($result->getId(), 'REVOKED', ['exc_type' => 'TaskRevokedError', 'exc_message' => ['revoked'], 'exc_module' => 'celery.exceptions'], database: 2);
var_dump($result->get(5)->exc_type, $result->getStatus());
var_dump(stored($result->getId(), 2));
foreach ([null, false, []] as $none) {
    new CeleryAdvanced(arguments(), $none);
}
show(fn () => new CeleryAdvanced('127.0.0.1'));
show(fn () => new CeleryAdvanced(arguments(), 'elsewhere'));
?>
--EXPECTF--
bool(true)
bool(true)
int(4)
string(16) "TaskRevokedError"
string(7) "REVOKED"
bool(true)
CeleryException: $broker_connection must be an array %s
CeleryException: $backend_connection must be an array %s
