--TEST--
revoke() of a stored result goes to a broker, never to the result backend of php.ini
--EXTENSIONS--
celery
--INI--
celery.result_backend=${REDIS_URL}
--FILE--
<?php
require __DIR__ . '/../support.inc';
$text = 'O:11:"AsyncResult":4:{s:7:"version";i:1;s:2:"id";s:1:"x";s:10:"connection";s:7:"unknown";s:6:"broker";s:7:"unknown";}';
show(fn () => unserialize($text)->isReady());
show(fn () => unserialize($text)->revoke());
?>
--EXPECT--
bool(false)
CeleryException: The connection of this stored result is not known here. Construct the client it was posted with (new Celery(…)) before using the result, or set the directive celery.broker_url.
