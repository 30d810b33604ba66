--TEST--
The connector, the URL, or their absence decide the kind of broker; contradictions are refused
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
$port = closed_port();
$at = fn (array $changes) => ['host' => '127.0.0.1', 'port' => $port, 'vhost' => '/'] + $changes;
echo "without a connector and with those of celery-php, it is a RabbitMQ:\n";
foreach ([false, null, '', 'pecl', 'AMQP', 'pyamqp', 'php-amqplib', 'php-amqplib-ssl', 'amqps'] as $connector) {
    show(fn () => (new CeleryAdvanced($at(['connector' => $connector])))->PostTask('proj.add', [1]));
}
show(fn () => (new Celery('127.0.0.1', 'u', 'hunter2', 'shop', port: $port))->PostTask('proj.add', [1]));
show(fn () => (new Celery("amqp://u:hunter2@127.0.0.1:$port/shop"))->PostTask('proj.add', [1]));
// The third failure in a row for this scheme.
show(fn () => (new Celery\Client("amqps://127.0.0.1:$port"))->sendTask('proj.add'));
echo "and otherwise a Redis:\n";
foreach (['redis', 'rediss'] as $connector) {
    show(fn () => (new CeleryAdvanced($at(['connector' => $connector])))->PostTask('proj.add', [1]));
}
echo "refused:\n";
show(fn () => client(['connector' => 'carrier-pigeon']));
show(fn () => new Celery('localhost', '', '', '', port: 6379));
show(fn () => get_class(new Celery('localhost', '', '', '', port: 6379, connector: 'amqp')));
show(fn () => new Celery('amqp://localhost', connector: 'redis'));
show(fn () => new Celery('redis://localhost', connector: 'pecl'));
show(fn () => new Celery('redis://localhost', connector: 'rediss'));
show(fn () => new Celery('amqp://localhost', connector: 'amqps'));
show(fn () => new Celery('amqp://localhost', ssl_options: ['cafile' => null]));
show(fn () => new CeleryAdvanced($at(['priority_steps' => [0, 9]])));
show(fn () => new CeleryAdvanced($at([]), ['vhost' => 'other'] + $at([])));
show(fn () => new Celery\Client('amqp://localhost', 'amqp://elsewhere'));
show(fn () => new Celery\Client('redis://localhost', 'rpc://'));
ini_set('celery.reply_queue', 'many');
show(fn () => (new CeleryAdvanced($at([])))->PostTask('proj.add', [1]));
ini_restore('celery.reply_queue');
show(fn () => new Celery\Client('amqp://localhost', keyPrefix: 'p'));
show(fn () => new Celery\Client('amqp://localhost', replicas: 1));
show(fn () => new Celery\Client(['amqp://a', 'redis://b']));
show(fn () => new Celery\Client('amqp://a;b'));
echo "several servers are tried in turn:\n";
show(fn () => (new Celery("amqp://u:hunter2@127.0.0.1:$port/shop;amqp://u:hunter2@localhost:$port/shop"))->PostTask('proj.add', [1]));
show(fn () => (new Celery\Client(["amqp://127.0.0.1:$port", "amqps://[::1]:$port"]))->sendTask('proj.add'));
echo "the results of these come as replies:\n";
foreach ([new Celery\Client('amqp://localhost'), new Celery\Client('amqp://localhost', 'amqp://localhost'), new Celery\Client('amqp://localhost', 'rpc://')] as $client) {
    var_dump($client->__debugInfo()['backend']);
}
show(fn () => get_class(new CeleryAdvanced($at([]), $at([]))));
show(fn () => Celery\Client::fromCelery(new CeleryAdvanced($at(['exchange' => 'a', 'binding' => 'b']))));
ini_set('celery.queue_type', 'qourum');
show(fn () => (new CeleryAdvanced($at([])))->PostTask('proj.add', [1]));
?>
--EXPECTF--
without a connector and with those of celery-php, it is a RabbitMQ:
CeleryConnectionException: Cannot reach the broker amqp://guest:********@127.0.0.1:%d//: %srefused%s The task was not queued. No connector was given, which means RabbitMQ, as in celery-php; for Redis pass the connector 'redis'.
CeleryConnectionException: %s No connector was given, %s
CeleryConnectionException: %s No connector was given, %s
CeleryConnectionException: Cannot reach the broker amqp://guest:********@127.0.0.1:%d//: %srefused%s The task was not queued. Check that RabbitMQ runs there, and the host and the port.
CeleryConnectionException: Cannot reach the broker amqp://%s
CeleryConnectionException: Cannot reach the broker amqp://%s
CeleryConnectionException: Cannot reach the broker amqp://%s
CeleryConnectionException: Cannot reach the broker amqps://%s
CeleryConnectionException: Cannot reach the broker amqps://%s
CeleryConnectionException: Cannot reach the broker amqp://u:********@127.0.0.1:%d/shop: %s No connector was given, %s
CeleryConnectionException: Cannot reach the broker amqp://u:********@127.0.0.1:%d/shop: %s Check that RabbitMQ runs there, %s
Celery\CircuitOpen: Cannot reach the broker amqps://guest:********@127.0.0.1:%d//: 3 calls in a row could not connect %s
and otherwise a Redis:
CeleryConnectionException: Cannot reach the broker redis://127.0.0.1:%d/0: %s Check that Redis runs there, %s
CeleryConnectionException: Cannot reach the broker rediss://127.0.0.1:%d/0: %s
refused:
CeleryException: The connector "carrier-pigeon" is unknown. For RabbitMQ it is 'amqp' or 'amqps' %s, for Redis 'redis' or 'rediss'.
CeleryException: No connector was given, which means RabbitMQ, as in celery-php, and the port 6379 is that of Redis. For Redis pass the connector 'redis' %s
string(6) "Celery"
CeleryException: The connector 'redis' contradicts the URL of the broker, whose scheme is amqp. %s
CeleryException: The connector 'pecl' contradicts the URL of the broker, whose scheme is redis. %s
CeleryException: The connector 'rediss' contradicts the URL of the broker, whose scheme is redis. %s
CeleryException: The connector 'amqps' contradicts the URL of the broker, whose scheme is amqp. %s
CeleryException: These connection arguments cannot be used: contradicting options: TLS options beside a URL without TLS.
CeleryException: These connection arguments cannot be used: contradicting options: priority_steps, which only Redis has, beside RabbitMQ.
CeleryException: The result backend amqp://guest:********@127.0.0.1:%d/other cannot be used: replies come over the broker of the task, and this is another RabbitMQ: write rpc:// for replies, or name a Redis.
Celery\InvalidConfiguration: The result backend cannot be used: replies come over the broker %s
Celery\InvalidConfiguration: The result backend cannot be used: rpc:// means replies over RabbitMQ, and the broker is a Redis, which keeps results itself.
CeleryException: celery.reply_queue is "many"; it must be "process" or "task".
Celery\InvalidConfiguration: The broker cannot be used: RabbitMQ has no keys, so keyPrefix has no meaning; for results in Redis use resultKeyPrefix.
Celery\InvalidConfiguration: replicas is a setting for Redis. %s
Celery\InvalidConfiguration: A list of URLs is one of Sentinels, of nodes of a Redis Cluster, or of RabbitMQs of one cluster. Name one server.
Celery\InvalidConfiguration: The broker cannot be used: %s whole URLs with a semicolon between them, as in amqp://a;amqp://b%s
several servers are tried in turn:
CeleryConnectionException: Cannot reach the broker amqp://u:********@127.0.0.1:%d/shop;amqp://u:********@localhost:%d/shop: 127.0.0.1:%d: %srefused%s; localhost:%d: %s The task was not queued. Check that RabbitMQ runs there, and the host and the port.
Celery\CircuitOpen: Cannot reach the broker amqp://guest:********@127.0.0.1:%d//;amqps://guest:********@[::1]:%d//: 3 calls in a row could not connect %s (127.0.0.1:%d: %s; [::1]:%d: %s), %s
the results of these come as replies:
string(6) "rpc://"
string(6) "rpc://"
string(6) "rpc://"
string(14) "CeleryAdvanced"
CeleryException: This client has an $exchange and a $binding that differ. %s
CeleryException: celery.queue_type is "qourum"; it must be "classic" or "quorum".
