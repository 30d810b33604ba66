--TEST--
Connectors other than Redis's are refused with advice on what to write
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
foreach ([false, null, '', 'pecl', 'amqp', 'php-amqplib', 'php-amqplib-ssl', 'carrier-pigeon'] as $connector) {
    show(fn () => client(['connector' => $connector]));
}
show(fn () => new Celery('localhost', 'guest', 'guest', '/'));
show(fn () => new Celery('amqp://guest:guest@localhost//', '', '', ''));
?>
--EXPECTF--
CeleryException: Only Redis is supported so far, and no connector was given, which means AMQP in celery-php. Pass the connector 'redis' %s
CeleryException: Only Redis is supported so far, and no connector was given, %s
CeleryException: Only Redis is supported so far, and no connector was given, %s
CeleryException: Only Redis is supported so far, and the connector "pecl" was asked for. %s
CeleryException: Only Redis is supported so far, and the connector "amqp" was asked for. %s
CeleryException: Only Redis is supported so far, and the connector "php-amqplib" was asked for. %s
CeleryException: Only Redis is supported so far, and the connector "php-amqplib-ssl" was asked for. %s
CeleryException: Only Redis is supported so far, and the connector "carrier-pigeon" was asked for. %s
CeleryException: Only Redis is supported so far, %s
CeleryException: Only Redis is supported so far, and the URL's scheme is amqp. %s
