--TEST--
A subclass that does not call its parent's constructor gets an exception that says so
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
$client = new class extends Celery {
    public function __construct()
    {
    }
};
show(fn () => $client->PostTask('proj.add', [2, 3]));
show(fn () => $client->getAsyncResultMessage('proj.add', 'id'));
$result = new class extends AsyncResult {
    public function __construct()
    {
    }
};
show(fn () => $result->isReady());
show(fn () => $result->get(1));
?>
--EXPECTF--
CeleryException: This client has no connection: its constructor did not run. %sparent::__construct()%s
CeleryException: This client has no connection: its constructor did not run. %s
CeleryException: This result has no connection: its constructor did not run. %s
CeleryException: This result has no connection: its constructor did not run. %s
