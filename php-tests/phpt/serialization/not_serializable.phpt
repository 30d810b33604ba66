--TEST--
A client cannot be serialized: it holds credentials
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
class Mine extends CeleryAdvanced
{
}
show(fn () => serialize(client(['password' => 'hush-hush'])));
show(fn () => serialize(new Mine(arguments())));
show(fn () => serialize(new Celery\Celery('redis://h', '', '', '')));
?>
--EXPECT--
Exception: Serialization of 'Celery' is not allowed
Exception: Serialization of 'Mine' is not allowed
Exception: Serialization of 'Celery\Celery' is not allowed
