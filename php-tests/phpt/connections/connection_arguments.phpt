--TEST--
Hosts, ports and virtual hosts in all their spellings
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
$port = redis_port();
function database(array $changes): void
{
    $queue = fresh('queue');
    show(function () use ($changes, $queue) {
        client(['exchange' => $queue] + $changes)->PostTask('proj.echo', [], false);
        foreach (range(0, 5) as $database) {
            if (redis($database)->exists($queue)) {
                return $database;
            }
        }
    });
}
foreach ([null, '', '/', 0, '0', 3, '3', '/3', false] as $vhost) {
    database(['vhost' => $vhost]);
}
database(['host' => 'localhost', 'port' => (string) $port]);
database(['host' => "redis://127.0.0.1:$port/2", 'port' => null, 'connector' => null, 'vhost' => null]);
database(['host' => "redis://127.0.0.1:$port/2", 'port' => 5672, 'connector' => false, 'vhost' => '']);
echo "refused:\n";
database(['vhost' => 'blog']);
database(['vhost' => -1]);
database(['port' => 'x']);
database(['port' => 70000]);
database(['host' => []]);
database(['host' => "redis://127.0.0.1:$port/2", 'vhost' => 4, 'port' => null]);
database(['host' => '']);
database(['ssl_options' => ['ciphers' => 'x']]);
database(['ssl_options' => 'x']);
database(['ssl_options' => ['cafile' => []]]);
database(['ssl_options' => ['ciphers' => null]]);
database(['host' => "redis://127.0.0.1:$port/2", 'port' => null, 'vhost' => null, 'ssl_options' => ['cafile' => null]]);
// An option without a value (an unset environment variable) still means TLS: no password is sent in
// clear.
[$server, $silent] = silent_server();
ini_set('celery.post_timeout', '0.5');
try {
    client(['port' => $silent, 'password' => 'secret', 'ssl_options' => ['cafile' => null]])->PostTask('proj.echo', [], false);
} catch (CeleryConnectionException) {
    echo bin2hex(substr(fread(stream_socket_accept($server, 5), 512), 0, 2)) === '1603' ? "a TLS handshake\n" : "plain text\n";
}
?>
--EXPECTF--
int(0)
int(0)
int(0)
int(0)
int(0)
int(3)
int(3)
int(3)
int(0)
int(0)
int(2)
int(2)
refused:
CeleryException: These connection arguments cannot be used: %s
CeleryException: These connection arguments cannot be used: %s
CeleryException: The port must be a number from 1 to 65535, "x" given.
CeleryException: The port must be a number from 1 to 65535, "70000" given.
CeleryException: The connection argument host must be a string of valid UTF-8, array given.
CeleryException: These connection arguments cannot be used: contradicting %s
CeleryException: No broker is configured: $host is empty and the directive celery.broker_url is not set.
CeleryException: These connection arguments cannot be used: unknown option `ciphers`.
CeleryException: The connection argument ssl_options must be an array, string given.
CeleryException: The TLS option "cafile" must be a string or a bool, array given.
CeleryException: These connection arguments cannot be used: unknown option `ciphers`.
CeleryException: These connection arguments cannot be used: contradicting options: TLS options beside a URL without TLS.
a TLS handshake
