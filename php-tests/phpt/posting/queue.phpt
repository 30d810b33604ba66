--TEST--
The queue is the routing key, otherwise the exchange, otherwise the default queue
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
[$exchange, $routing, $default] = [fresh('exchange'), fresh('routing'), fresh('default')];
function reached(string ...$queues): string
{
    foreach ($queues as $name => $queue) {
        if ($message = message($queue)) {
            $info = $message['properties']['delivery_info'];
            return $name . ($info === ['exchange' => '', 'routing_key' => $queue] ? '' : ' with ' . json_encode($info));
        }
    }
    return 'none';
}
$queues = ['exchange' => $exchange, 'routing' => $routing, 'default' => $default];
ini_set('celery.default_queue', $default);
$client = client(['exchange' => $exchange, 'binding' => 'ignored']);
foreach ([[], [true, 'celery'], [true, null], [true, ''], [true, $routing]] as $more) {
    $client->PostTask('proj.echo', [], ...$more);
    echo json_encode($more[1] ?? 'not given') === json_encode($routing) ? 'a routing key' : json_encode($more[1] ?? null), ': ', reached(...$queues), "\n";
}
foreach ([null, ''] as $none) {
    client(['exchange' => $none])->PostTask('proj.echo', []);
    echo 'exchange ', json_encode($none), ': ', reached(...$queues), "\n";
}
(new CeleryAdvanced(['exchange' => $exchange] + arguments()))->PostTask('proj.echo', [], false, $routing);
echo 'advanced: ', reached(...$queues), "\n";
?>
--EXPECT--
null: exchange
"celery": exchange
null: exchange
"": exchange
a routing key: routing
exchange null: default
exchange "": default
advanced: routing
