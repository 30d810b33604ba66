--TEST--
TLS: the certificate and its name are verified, unless the options say otherwise
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
function attempt(string $what, array $changes): void
{
    global $port;
    try {
        client($changes + ['host' => 'localhost', 'port' => $port])->PostTask('proj.echo', [], false);
        echo "$what: posted\n";
    } catch (CeleryConnectionException $e) {
        echo "$what: refused\n";
    }
}
ini_set('celery.post_timeout', '2');
$trusted = ['cafile' => "$folder/authority.crt"];
attempt('trusted', ['connector' => 'rediss', 'ssl_options' => $trusted]);
attempt('trusted, by options alone', ['ssl_options' => $trusted]);
attempt('the system\'s authorities', ['connector' => 'rediss']);
attempt('another authority', ['ssl_options' => ['cafile' => "$folder/stranger.crt"]]);
attempt('another name', ['host' => '127.0.0.1', 'ssl_options' => $trusted]);
attempt('another name, not verified', ['host' => '127.0.0.1', 'ssl_options' => $trusted + ['verify_peer_name' => false]]);
attempt('another name, expected', ['host' => '127.0.0.1', 'ssl_options' => $trusted + ['peer_name' => 'localhost']]);
attempt('nothing verified', ['ssl_options' => ['verify_peer' => false, 'verify_peer_name' => false]]);
attempt('by URL', ['host' => "rediss://localhost:$port/0?ssl_ca_certs=$folder/authority.crt", 'port' => null]);
ini_set('celery.ca_file', "$folder/authority.crt");
attempt('celery.ca_file', ['connector' => 'rediss']);
attempt('an option without a value', ['ssl_options' => ['cafile' => null]]);
attempt('plain', []);
proc_terminate($server);
proc_close($server);
array_map('unlink', glob("$folder/*"));
rmdir($folder);
?>
--EXPECT--
trusted: posted
trusted, by options alone: posted
the system's authorities: refused
another authority: refused
another name: refused
another name, not verified: posted
another name, expected: posted
nothing verified: posted
by URL: posted
celery.ca_file: posted
an option without a value: posted
plain: refused
