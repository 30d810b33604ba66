--TEST--
A broker that never answers cannot block a post: the deadline ends it
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
[$server, $port] = silent_server();
ini_set('celery.post_timeout', '0.4');
ini_set('celery.connect_timeout', '0.2');
ini_set('celery.command_timeout', '0.4');
$client = client(['port' => $port, 'password' => 'x']);
within(0.4, function () use ($client) {
    try {
        $client->PostTask('proj.add', [2, 3]);
    } catch (CeleryConnectionException $e) {
        return 'gave up';
    }
});
$result = new AsyncResult('id', arguments(['port' => $port]));
within(0.4, function () use ($result) {
    try {
        $result->isReady();
    } catch (CeleryConnectionException $e) {
        return 'gave up';
    }
});
within(0.4, function () use ($result) {
    try {
        $result->get(0.4);
    } catch (CeleryConnectionException $e) {
        return 'gave up';
    }
});
?>
--EXPECT--
string(7) "gave up"
in time
string(7) "gave up"
in time
string(7) "gave up"
in time
