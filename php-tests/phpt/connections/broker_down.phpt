--TEST--
An unreachable broker is a CeleryConnectionException at the post, not in the constructor
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
$port = closed_port();
$client = client(['port' => $port, 'password' => 'hush-hush']);
echo "constructed\n";
within(0.8, function () use ($client, $port) {
    try {
        $client->PostTask('proj.add', [2, 3]);
    } catch (CeleryConnectionException $e) {
        var_dump(str_contains($e->getMessage(), "127.0.0.1:$port"), str_contains((string) $e, 'hush'));
        throw new $e(str_replace((string) $port, 'PORT', $e->getMessage()));
    }
});
within(0.8, function () use ($port) {
    try {
        (new AsyncResult('id', arguments(['port' => $port])))->isReady();
    } catch (CeleryConnectionException $e) {
        return get_class($e);
    }
});
?>
--EXPECTF--
constructed
bool(true)
bool(false)
CeleryConnectionException: Cannot reach the broker %s127.0.0.1:PORT/0: %s. The task was not queued. Check %s
in time
string(25) "CeleryConnectionException"
in time
