--TEST--
stubs/celery.stub.php matches the extension
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../../../stubs/check.php';
?>
--EXPECT--
The stub matches the extension.
