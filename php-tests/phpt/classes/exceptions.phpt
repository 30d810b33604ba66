--TEST--
The exceptions are ordinary exceptions: thrown, extended, caught by either name
--EXTENSIONS--
celery
--FILE--
<?php
class Mine extends CeleryPublishException
{
    public $note = 'kept';
}
try {
    throw new Mine('hey', 7, new LogicException('cause'));
} catch (\Celery\CeleryException $e) {
    var_dump(get_class($e), $e->getMessage(), $e->getCode(), $e->getLine(), $e->getPrevious()->getMessage(), $e->note);
    var_dump($e->outcomeUnknown(), $e->taskId());
}
var_dump(unserialize(serialize(new CeleryTimeoutException('x', 4)))->getCode());
?>
--EXPECT--
string(4) "Mine"
string(3) "hey"
int(7)
int(7)
string(5) "cause"
string(4) "kept"
bool(false)
NULL
int(4)
