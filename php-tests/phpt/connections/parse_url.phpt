--TEST--
Client::parseUrl() gives the parts of a URL, null where it has none, and refuses what a client refuses
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';

use Celery\Client;

$parts = fn (string $url) => print json_encode(array_filter(Client::parseUrl($url), fn ($part) => $part !== null), JSON_UNESCAPED_SLASHES) . "\n";
echo implode(' ', array_keys(Client::parseUrl('redis://'))), "\n";
$parts('redis://');
$parts('rediss://us%40er:p%2Fa@[::1]:7/0');
$parts('unix://:pw@/run/r%20s.sock?virtual_host=2');
$parts('rediss://h?ssl_cert_reqs=none&ssl_ca_certs=/ca.pem&ssl_check_hostname=true');
$parts('rediss://h?ssl_cert_reqs=required&priority_steps=0,9&sep=%3A&socket_timeout=5');
foreach (['mongodb://h', 'redis://:hunter#2@h', 'redis://h/x', 'redis://h?colour=red', 'redis://a,b', "redis://\xff"] as $url) {
    foreach ([fn () => Client::parseUrl($url), fn () => new Client($url)] as $use) {
        show($use);
    }
}
$parts('sentinel://u:pw@h;sentinel://[::1]:7/2?master_name=m&sentinel_password=pw2');
$parts('sentinel://h?ssl_ca_certs=/ca.pem');
$parts('redis+cluster://u:pw@h:7000;redis+cluster://[::1]:7001?prefix={shop}:');
$parts('rediss+cluster://h?ssl_ca_certs=/ca.pem');
$parts('amqps://u:pw@h/v');
$parts('amqp://');
$parts('amqp://token@h');
$parts('amqp://u:pw@a;amqp://v:pw@b:1/v');
$parts('amqp://u:pw@a;amqp://token@b');
?>
--EXPECT--
tls host port path username password database ssl priority_steps sep scheme display sentinels master_name cluster prefix
{"tls":false,"ssl":[],"scheme":"redis","display":"redis://localhost:6379/0"}
{"tls":true,"host":"::1","port":7,"username":"us@er","password":"p/a","database":0,"ssl":[],"scheme":"rediss","display":"rediss://us%40er:********@[::1]:7/0"}
{"tls":false,"path":"/run/r s.sock","password":"pw","database":2,"ssl":[],"scheme":"redis+socket","display":"redis+socket://:********@/run/r s.sock?virtual_host=2"}
{"tls":true,"host":"h","ssl":{"verify_peer":false,"verify_peer_name":true,"cafile":"/ca.pem"},"scheme":"rediss","display":"rediss://h:6379/0"}
{"tls":true,"host":"h","ssl":{"verify_peer":true},"priority_steps":[0,9],"sep":":","scheme":"rediss","display":"rediss://h:6379/0"}
Celery\InvalidConfiguration: The URL cannot be used: the scheme `mongodb` is not supported: use redis, rediss, redis+socket, redis+cluster or sentinel, or in PHP for RabbitMQ amqp or amqps.
Celery\InvalidConfiguration: The broker cannot be used: the scheme `mongodb` is not supported: use redis, rediss, redis+socket, redis+cluster or sentinel, or in PHP for RabbitMQ amqp or amqps.
Celery\InvalidConfiguration: The URL cannot be used: the URL has an @ after the first /, ? or #; a password in a URL must be percent-encoded (%23 for #, %2F for /, %3F for ?, %40 for @).
Celery\InvalidConfiguration: The broker cannot be used: the URL has an @ after the first /, ? or #; a password in a URL must be percent-encoded (%23 for #, %2F for /, %3F for ?, %40 for @).
Celery\InvalidConfiguration: The URL cannot be used: the virtual host cannot be used: Redis' databases are numbers: '', '/', '3' or '/3'.
Celery\InvalidConfiguration: The broker cannot be used: the virtual host cannot be used: Redis' databases are numbers: '', '/', '3' or '/3'.
Celery\InvalidConfiguration: The URL cannot be used: unknown option `colour`.
Celery\InvalidConfiguration: The broker cannot be used: unknown option `colour`.
Celery\InvalidConfiguration: The URL cannot be used: a list of brokers is not supported: name one server.
Celery\InvalidConfiguration: The broker cannot be used: a list of brokers is not supported: name one server.
ValueError: Celery\Client::parseUrl(): Argument #1 ($url) must be valid UTF-8
ValueError: Celery\Client::__construct(): Argument #1 ($broker) must be a URL or a list of URLs
{"tls":false,"username":"u","password":"pw","database":2,"ssl":[],"scheme":"sentinel","display":"sentinel://u:********@h:26379;sentinel://[::1]:7/2?master_name=m","sentinels":["h:26379","[::1]:7"],"master_name":"m"}
{"tls":true,"ssl":{"cafile":"/ca.pem"},"scheme":"sentinel","display":"sentinel://h:26379/0","sentinels":["h:26379"]}
{"tls":false,"username":"u","password":"pw","ssl":[],"scheme":"redis+cluster","display":"redis+cluster://u:********@h:7000;redis+cluster://[::1]:7001/0?prefix={shop}:","cluster":["h:7000","[::1]:7001"],"prefix":"{shop}:"}
{"tls":true,"ssl":{"cafile":"/ca.pem"},"scheme":"rediss+cluster","display":"rediss+cluster://h:6379/0","cluster":["h:6379"]}
{"tls":true,"ssl":[],"scheme":"amqps","display":"amqps://u:********@h:5671/v"}
{"tls":false,"ssl":[],"scheme":"amqp","display":"amqp://guest:********@localhost:5672//"}
{"tls":false,"ssl":[],"scheme":"amqp","display":"amqp://**@h"}
{"tls":false,"ssl":[],"scheme":"amqp","display":"amqp://u:********@a:5672//;amqp://v:********@b:1/v"}
{"tls":false,"ssl":[],"scheme":"amqp","display":"amqp://u:**@b"}
