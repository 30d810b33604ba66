--TEST--
A list of servers is refused in celery.result_backend as in celery.broker_url, with an error that says so
--INI--
celery.broker_url=redis://127.0.0.1:1/0
celery.result_backend="redis://a/0;redis://b/0"
--FILE--
<?php
try {
    (new Celery('redis://127.0.0.1:1/0'))->PostTask('proj.add', [1, 2]);
} catch (CeleryException $exception) {
    echo $exception->getMessage(), "\n";
}
try {
    new Celery('redis://a/0;redis://b/0');
} catch (CeleryException $exception) {
    echo $exception->getMessage(), "\n";
}
?>
--EXPECT--
The directive celery.result_backend cannot be used: a list of result backends is not supported: name one server.
These connection arguments cannot be used: a list of brokers is not supported: name one server.
