--TEST--
After three failures in a row a result backend is not asked again for a while
--EXTENSIONS--
celery
--INI--
celery.breaker_cooldown=60
celery.connect_timeout=2
--FILE--
<?php
require __DIR__ . '/../support.inc';

$client = new Celery\Client('redis://127.0.0.1:' . closed_port());
$result = $client->result('a');
for ($i = 0; $i < 3; ++$i) {
    try {
        $result->ready();
    } catch (CeleryConnectionException $e) {
        echo get_class($e), "\n";
    }
}
foreach ([
    fn () => $result->ready(), fn () => $result->get(60), fn () => $result->meta(), fn () => $result->forget(), fn () => $result->revoke(),
    fn () => $client->results(['a', 'b'])->get(60), fn () => $client->results(['a', 'b'])->ready(), fn () => $client->groupResult('g'),
    fn () => iterator_to_array($client->results(['a', 'b'])->asCompleted(60)), fn () => (new Celery\GroupResult('g', [$result]))->save(),
] as $call) {
    try {
        $call();
    } catch (Celery\CircuitOpen $e) {
        echo $e->retryAfter() > 50 ? 'open ' : 'closed ';
    }
}
?>
--EXPECT--
CeleryConnectionException
CeleryConnectionException
CeleryConnectionException
open open open open open open open open open open 
