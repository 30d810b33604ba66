--TEST--
CeleryAbstract cannot be instantiated
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
show(fn () => new CeleryAbstract());
?>
--EXPECT--
Error: Cannot instantiate abstract class CeleryAbstract
