--TEST--
A name server that never answers cannot block a call: resolving has a deadline
--EXTENSIONS--
celery
--SKIPIF--
<?php
exec('unshare --net --mount true 2>/dev/null', $output, $code);
if ($code !== 0) {
    die('skip needs namespaces of its own (root)');
}
?>
--FILE--
<?php
require __DIR__ . '/../support.inc';
// A network and an /etc/resolv.conf of its own: the only name server receives questions and never
// answers.
$script = <<<'PHP'
    require getenv('SUPPORT');
    $server = stream_socket_server('udp://127.0.0.1:53', $code, $text, STREAM_SERVER_BIND);
    ini_set('celery.connect_timeout', '0.3');
    ini_set('celery.post_timeout', '0.6');
    $client = new Celery('broker.example', null, null, 0, 'celery', 'celery', 6379, 'redis');
    foreach ([1, 2] as $time) {
        within(0.6, function () use ($client) {
            try {
                $client->PostTask('proj.add', [2, 3]);
            } catch (CeleryConnectionException $e) {
                return get_class($e);
            }
        });
    }
    var_dump(is_resource($server));
    PHP;
$shell = 'ip link set lo up && printf "nameserver 127.0.0.1\\noptions timeout:30\\n" > "$CONF" && mount --bind "$CONF" /etc/resolv.conf && exec "$PHP" -d "extension=$SO" -r "$SCRIPT"';
$conf = tempnam(sys_get_temp_dir(), 'resolv');
$maps = file_get_contents('/proc/self/maps');
preg_match('#\S*libcelery\.so#', $maps, $so);
$process = proc_open(['unshare', '--net', '--mount', 'sh', '-c', $shell], [1 => STDOUT, 2 => STDOUT], $pipes, null, [
    'CONF' => $conf, 'PHP' => PHP_BINARY, 'SO' => $so[0] ?? 'celery', 'SCRIPT' => $script,
    'SUPPORT' => __DIR__ . '/../support.inc',
] + getenv());
proc_close($process);
unlink($conf);
?>
--EXPECT--
string(25) "CeleryConnectionException"
in time
string(25) "CeleryConnectionException"
in time
bool(true)
