--TEST--
forget() deletes the result in any state
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
$result = client(['exchange' => fresh('queue')])->PostTask('proj.add', [2, 3]);
store($result->getId(), 'PROGRESS', 1);
var_dump($result->forget(), stored($result->getId()), $result->isReady());
store($result->getId(), 'SUCCESS', 1);
var_dump($result->forget(), stored($result->getId()));
?>
--EXPECT--
NULL
bool(false)
bool(false)
NULL
bool(false)
