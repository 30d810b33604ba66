--TEST--
Only the extension's classes extend Celery\Canvas; objects are constructed once
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';

use Celery\{Canvas, Client, RetryPolicy, Signature};

class Own extends Canvas
{
    public function __construct()
    {
        echo "not reached\n";
    }
}
show(fn () => new Own());
show(fn () => (new ReflectionClass(Own::class))->newInstanceWithoutConstructor());
show(fn () => unserialize('O:3:"Own":0:{}'));
show(fn () => (new ReflectionClass(Signature::class))->newInstanceWithoutConstructor());
show(fn () => unserialize('O:16:"Celery\Signature":0:{}'));
show(fn () => unserialize('O:16:"Celery\Signature":3:{s:4:"task";s:1:"a";s:4:"args";a:1:{i:1;i:1;}s:6:"kwargs";a:0:{}}'));
show(fn () => unserialize('O:16:"Celery\Signature":2:{s:4:"task";s:1:"a";s:4:"args";i:1;}'));
foreach ([new Signature('a'), new RetryPolicy(), new Client('redis://localhost')] as $made) {
    show(fn () => $made instanceof Signature ? $made->__construct('b') : $made->__construct());
}
show(fn () => (new Signature('a'))->__unserialize(['task' => 'b']));
show(fn () => serialize(new Client('redis://:secret@localhost')));
?>
--EXPECT--
Error: Class Own cannot extend Celery\Canvas: only classes of the extension do.
Error: Class Own cannot extend Celery\Canvas: only classes of the extension do.
Error: Class Own cannot extend Celery\Canvas: only classes of the extension do.
ReflectionException: Class Celery\Signature is an internal class marked as final that cannot be instantiated without invoking its constructor
CeleryException: This is not a signature: it has no task.
CeleryException: This is not a signature: its args are not a list.
CeleryException: This is not a signature: its args is not an array.
Error: This object was constructed already.
Error: This object was constructed already.
Error: This object was constructed already.
Error: This object was constructed already.
Exception: Serialization of 'Celery\Client' is not allowed
