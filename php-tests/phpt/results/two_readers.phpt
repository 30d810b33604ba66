--TEST--
A result that one object consumed is gone for others, but stays with its own object
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
$first = client(['exchange' => fresh('queue')])->PostTask('proj.add', [2, 3]);
$second = new AsyncResult($first->getId(), arguments(), 'proj.add', [2, 3]);
$copy = clone $first;
store($first->getId(), 'SUCCESS', 5);
var_dump($first->get(5), $second->isReady(), $copy->isReady(), (clone $first)->getResult(), $first->get(0));
?>
--EXPECT--
int(5)
bool(false)
bool(false)
int(5)
int(5)
