--TEST--
TLS: an error says whether the authority is unknown, or which of the two ends does not speak TLS
--EXTENSIONS--
celery
openssl
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
function certificate(string $name, string $section, ?array $issuer = null): array
{
    global $folder;
    $key = openssl_pkey_new(['private_key_bits' => 2048]);
    $options = ['config' => "$folder/openssl.cnf", 'digest_alg' => 'sha256', 'x509_extensions' => $section];
    $request = openssl_csr_new(['commonName' => $name], $key, $options);
    $certificate = openssl_csr_sign($request, $issuer[0] ?? null, $issuer[1] ?? $key, 2, $options, random_int(1, 1 << 30));
    openssl_x509_export_to_file($certificate, "$folder/$name.crt");
    openssl_pkey_export_to_file($key, "$folder/$name.key");

    return [$certificate, $key];
}
$authority = certificate('authority', 'ca');
certificate('stranger', 'ca');
certificate('localhost', 'v3', $authority);
$port = closed_port();
$server = proc_open([
    'redis-server', '--port', '0', '--tls-port', $port, '--bind', '127.0.0.1', '--save', '', '--dir', $folder, '--tls-auth-clients', 'no',
    '--tls-cert-file', "$folder/localhost.crt", '--tls-key-file', "$folder/localhost.key", '--tls-ca-cert-file', "$folder/authority.crt",
], [['file', '/dev/null', 'r'], ['file', '/dev/null', 'w'], ['file', '/dev/null', 'w']], $pipes);
for ($tries = 0; $tries < 500 && !($up = @fsockopen('127.0.0.1', $port)); ++$tries) {
    usleep(20000);
}
function attempt(string $what, array $ways, string $words): void
{
    foreach ($ways as $changes) {
        try {
            client($changes + ['host' => 'localhost'])->PostTask('proj.echo', [], false);
            echo "$what: posted\n";
        } catch (CeleryConnectionException $e) {
            echo "$what: ", str_contains($e->getMessage(), $words) ? 'named' : $e->getMessage(), "\n";
            echo str_contains($e->getMessage(), 'hush') ? "a password is shown\n" : '';
        }
    }
}
ini_set('celery.post_timeout', '2');
$stranger = "$folder/stranger.crt";
attempt('unknown authority', [
    ['port' => $port, 'connector' => 'rediss'], ['port' => $port, 'ssl_options' => ['cafile' => $stranger]],
    ['host' => "rediss://:hush@localhost:$port/0", 'port' => null], ['host' => "rediss://localhost:$port/0?ssl_ca_certs=$stranger", 'port' => null],
], 'its certificate is not signed by a trusted authority');
attempt('plain client on the port of TLS', [
    ['port' => $port], ['port' => $port, 'password' => 'hush'], ['host' => "redis://u:hush@localhost:$port/0", 'port' => null],
    // The server's reset may overtake its alert; then the message names both possible causes.
], 'use rediss://');
attempt('TLS on the plain port', [
    ['port' => redis_port(), 'connector' => 'rediss'], ['host' => 'rediss://:hush@127.0.0.1:' . redis_port() . '/0', 'port' => null],
    ['port' => redis_port(), 'ssl_options' => ['verify_peer' => false]],
], 'use redis://');
// Forces both orders: one server answers only with the alert, the other closes without one.
foreach (['an alert' => "\x15\x03\x01\x00\x02\x02\x46", 'a server that closes' => ''] as $what => $answer) {
    [$socket, $other] = silent_server();
    $child = pcntl_fork();
    if ($child === 0) {
        while ($stream = stream_socket_accept($socket, 20)) {
            fread($stream, 8192);
            fwrite($stream, $answer);
            fclose($stream);
        }
        posix_kill(getmypid(), SIGKILL);
    }
    attempt($what, [['host' => '127.0.0.1', 'port' => $other]], 'use rediss://');
    posix_kill($child, SIGKILL);
    pcntl_waitpid($child, $status);
}
proc_terminate($server);
proc_close($server);
array_map('unlink', glob("$folder/*"));
rmdir($folder);
?>
--EXPECT--
unknown authority: named
unknown authority: named
unknown authority: named
unknown authority: named
plain client on the port of TLS: named
plain client on the port of TLS: named
plain client on the port of TLS: named
TLS on the plain port: named
TLS on the plain port: named
TLS on the plain port: named
an alert: named
a server that closes: named
