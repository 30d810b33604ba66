--TEST--
celery.broker_url and celery.result_backend serve code that names none; scripts cannot change them
--EXTENSIONS--
celery
--INI--
celery.broker_url=${REDIS_URL}
celery.result_backend=${REDIS_URL}
--FILE--
<?php
require __DIR__ . '/support.inc';
$queue = fresh('queue');
$client = new Celery(null, null, null, null, $queue);
$result = $client->PostTask('proj.add', [2, 3]);
var_dump(redis()->lLen($queue));
store($result->getId(), 'SUCCESS', 5);
var_dump($result->get(5));
// The backend of php.ini, not the client's database, is where results are.
$result = client(['vhost' => 4])->PostTask('proj.add', [2, 3]);
store($result->getId(), 'SUCCESS', 6);
var_dump($result->get(5));
var_dump(ini_set('celery.broker_url', 'redis://elsewhere'), ini_set('celery.result_backend', 'redis://elsewhere'));
?>
--EXPECT--
int(1)
int(5)
int(6)
bool(false)
bool(false)
