--TEST--
TLS: a certificate that is renewed, expired, self-signed or of another authority, while a client is in use
--EXTENSIONS--
celery
openssl
redis
--SKIPIF--
<?php
if (!str_contains((string) shell_exec('ldd "$(command -v redis-server)" 2>/dev/null'), 'libssl')) {
    die('skip this redis-server has no TLS');
}
?>
--FILE--
<?php
require __DIR__ . '/../support.inc';
$folder = sys_get_temp_dir() . '/' . fresh('tls');
mkdir($folder, 0700);
file_put_contents("$folder/openssl.cnf", "[req]\ndistinguished_name=dn\n[dn]\n[v3]\nsubjectAltName=DNS:localhost\n[ca]\nbasicConstraints=critical,CA:TRUE\n");

/** Writes a certificate for localhost, valid for a number of days from now. */
function certificate(string $file, string $section, ?array $issuer, int $days): array
{
    global $folder;
    $key = openssl_pkey_new(['private_key_type' => OPENSSL_KEYTYPE_EC, 'curve_name' => 'prime256v1']);
    $options = ['config' => "$folder/openssl.cnf", 'digest_alg' => 'sha256', 'x509_extensions' => $section];
    $request = openssl_csr_new(['commonName' => $file], $key, $options);
    $certificate = openssl_csr_sign($request, $issuer[0] ?? null, $issuer[1] ?? $key, $days, $options, random_int(1, 1 << 30));
    openssl_x509_export_to_file($certificate, "$folder/$file.crt");
    openssl_pkey_export_to_file($key, "$folder/$file.key");

    return [$certificate, $key];
}
$authority = certificate('authority', 'ca', null, 2);
$stranger = certificate('stranger', 'ca', null, 2);
certificate('first', 'v3', $authority, 2);
certificate('renewed', 'v3', $authority, 2);
[$expired] = certificate('expired', 'v3', $authority, 0);
certificate('foreign', 'v3', $stranger, 2);
certificate('self-signed', 'v3', null, 2);
[$plain, $tls] = [closed_port(), closed_port()];
$server = proc_open([
    'redis-server', '--port', $plain, '--tls-port', $tls, '--bind', '127.0.0.1', '--save', '', '--dir', $folder, '--tls-auth-clients', 'no',
    '--tls-cert-file', "$folder/first.crt", '--tls-key-file', "$folder/first.key", '--tls-ca-cert-file', "$folder/authority.crt",
], [['file', '/dev/null', 'r'], ['file', '/dev/null', 'w'], ['file', '/dev/null', 'w']], $pipes);
$redis = new Redis();
until('the server', function () use ($redis, $plain) {
    try {
        return $redis->connect('127.0.0.1', $plain, 5);
    } catch (RedisException) {
        return false;
    }
});

$end = openssl_x509_parse($expired)['validTo_time_t'];
until('the end of a certificate', fn () => time() > $end);

$queue = fresh('queue');
$client = client(['host' => 'localhost', 'port' => $tls, 'exchange' => $queue, 'connector' => 'rediss', 'ssl_options' => ['cafile' => "$folder/authority.crt"]]);
function post(string $what): void
{
    global $client;
    try {
        $client->PostTask('proj.echo', [], false);
        echo "$what: posted\n";
    } catch (CeleryConnectionException $e) {
        preg_match('/certificate expired|UnknownIssuer/', $e->getMessage(), $reason);
        echo "$what: refused, ", $reason[0] ?? $e->getMessage(), "\n";
    }
}

/** Gives the server another certificate, and closes the connections if $close. */
function serve(string $name, bool $close = true): void
{
    global $redis, $folder;
    $redis->rawCommand('CONFIG', 'SET', 'tls-cert-file', "$folder/$name.crt", 'tls-key-file', "$folder/$name.key");
    if ($close) {
        $redis->rawCommand('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    }
}

post('the first');
serve('renewed', close: false);
post('renewed, on the open connection');
serve('renewed');
post('renewed, on a new connection');
foreach (['expired', 'foreign', 'self-signed'] as $name) {
    serve($name, close: false);
    post("$name, on the open connection");
    serve($name);
    post("$name, on a new connection");
    serve('renewed');
    post("after $name");
}
echo $redis->lLen($queue), " tasks\n";
proc_terminate($server);
proc_close($server);
array_map('unlink', glob("$folder/*"));
rmdir($folder);
?>
--EXPECT--
the first: posted
renewed, on the open connection: posted
renewed, on a new connection: posted
expired, on the open connection: posted
expired, on a new connection: refused, certificate expired
after expired: posted
foreign, on the open connection: posted
foreign, on a new connection: refused, UnknownIssuer
after foreign: posted
self-signed, on the open connection: posted
self-signed, on a new connection: refused, UnknownIssuer
after self-signed: posted
9 tasks
