<?php

namespace CeleryTests\Interop;

use Celery\Client;
use CeleryTests\Programs;
use CeleryTests\Wait;
use PHPUnit\Framework\TestCase;

/**
 * PHP over `amqps://`: to a RabbitMQ that accepts only clients with a certificate of its authority.
 */
class RabbitMqTlsTest extends TestCase
{
    private const QUEUE = 'tls.posted';

    protected function tearDown(): void
    {
        ini_restore('celery.ca_file');
    }

    private static function file(string $name): string
    {
        return getenv('AMQP_CERTIFICATES') . "/$name";
    }

    /** Returns the options that the server and this client need. */
    private static function options(array $changes = []): array
    {
        return $changes + [
            'cafile' => self::file('ca.crt'),
            'local_cert' => self::file('client.crt'),
            'local_pk' => self::file('client.key'),
        ];
    }

    private static function post(array $details): bool
    {
        $details += ['host' => 'localhost', 'login' => 'guest', 'password' => 'guest', 'vhost' => '/', 'port' => (int) getenv('AMQP_TLS_PORT')];

        return (new \CeleryAdvanced($details))->PostTask('proj.add', [1, 1], false, self::QUEUE);
    }

    private static function url(string $query = '', string $host = 'localhost'): string
    {
        return "amqps://guest:guest@$host:" . getenv('AMQP_TLS_PORT') . "//$query";
    }

    /** Checks that a post is refused before it is sent, for a reason that the message names. */
    private function refused(string $why, array|string $to): void
    {
        try {
            is_array($to) ? self::post($to) : (new Client($to, queue: self::QUEUE))->sendTask('proj.add');
        } catch (\CeleryConnectionException $exception) {
            $this->assertStringContainsString($why, $exception->getMessage());
            $this->assertStringNotContainsString('hunter2', $exception->getMessage());

            return;
        }
        $this->fail("it was posted: $why");
    }

    public function test_connections_that_are_trusted(): void
    {
        foreach (['amqps', 'php-amqplib-ssl', 'pecl', false] as $connector) {
            $this->assertTrue(self::post(['connector' => $connector, 'ssl_options' => self::options()]));
        }
        $this->assertTrue(self::post(['ssl_options' => self::options(['peer_name' => 'localhost'])]));
        $this->assertTrue(self::post(['ssl_options' => self::options(['cafile' => null, 'verify_peer' => false, 'verify_peer_name' => false])]));
        $certificate = 'ssl_certfile=' . self::file('client.crt') . '&ssl_keyfile=' . self::file('client.key');
        $urls = [self::url("?$certificate&ssl_ca_certs=" . self::file('ca.crt'))];
        ini_set('celery.ca_file', self::file('ca.crt'));
        $urls[] = self::url("?$certificate");
        foreach ($urls as $url) {
            $this->assertMatchesRegularExpression('/^[0-9a-f-]{36}$/', (new Client($url, queue: self::QUEUE))->sendTask('proj.add', [1, 1])->id);
        }
        $client = new Client(self::url(), queue: self::QUEUE, tls: self::options());
        // The tests of others must not find what was posted here.
        $this->assertGreaterThanOrEqual(8, $client->purge());
    }

    public function test_a_server_that_is_not_trusted(): void
    {
        $unknown = 'its certificate is not signed by a trusted authority';
        $this->refused($unknown, ['connector' => 'amqps']);
        $this->refused($unknown, ['ssl_options' => self::options(['cafile' => self::stranger()[0]])]);
        $this->refused($unknown, self::url());
        $this->refused('other.example', ['ssl_options' => self::options(['peer_name' => 'other.example'])]);
        $this->refused('peer_name', ['ssl_options' => self::options(['peer_name' => 'other.example'])]);
    }

    public function test_a_client_that_is_not_trusted(): void
    {
        // The end of the connection may overtake the alert that says why.
        Wait::until('the reason', 60, function () {
            try {
                self::post(['ssl_options' => ['cafile' => self::file('ca.crt')]]);
            } catch (\CeleryConnectionException $exception) {
                return str_contains($exception->getMessage(), 'wants a certificate of the client')
                    && str_contains($exception->getMessage(), 'local_cert and local_pk');
            }
            $this->fail('the client was trusted');
        });
        [$certificate, $key] = self::stranger();
        $this->refused('Cannot reach the broker', ['ssl_options' => self::options(['local_cert' => $certificate, 'local_pk' => $key])]);
        $this->refused('refused the credentials', ['password' => 'hunter2', 'ssl_options' => self::options()]);
    }

    public function test_only_one_end_speaks_tls(): void
    {
        $this->refused('use amqps://', ['connector' => 'amqp']);
        $this->refused("the connector 'amqps'", ['connector' => 'amqp']);
        $this->refused('use amqps://', 'amqp://guest:guest@localhost:' . getenv('AMQP_TLS_PORT'));
        $plain = ['host' => '127.0.0.1', 'port' => (int) getenv('AMQP_PORT'), 'ssl_options' => self::options()];
        $this->refused('use amqp://', $plain);
        $this->refused("the connector 'amqp', and no \$ssl_options", $plain);
    }

    public function test_results_and_remote_control(): void
    {
        $worker = Programs::pythonWorkerOnRabbitMq('5.7', 'tls', 1, 'rpc://');
        $client = new Client(self::url(), queue: 'tls', tls: self::options());
        $this->assertSame(5, $client->sendTask('proj.add', [2, 3])->get(60));
        $this->assertSame(['tls@' . gethostname()], array_keys($client->control()->ping(limit: 1, timeout: 60)));
        $this->assertTrue($worker->isRunning());
    }

    /**
     * Returns the certificate of an authority that is unknown to both ends, and its key.
     *
     * @return array{string, string}
     */
    private static function stranger(): array
    {
        $files = [tempnam(sys_get_temp_dir(), 'crt'), tempnam(sys_get_temp_dir(), 'key')];
        $key = openssl_pkey_new(['private_key_type' => OPENSSL_KEYTYPE_EC, 'curve_name' => 'prime256v1']);
        $request = openssl_csr_new(['commonName' => 'stranger'], $key, ['digest_alg' => 'sha256']);
        openssl_x509_export_to_file(openssl_csr_sign($request, null, $key, 2, ['digest_alg' => 'sha256']), $files[0]);
        openssl_pkey_export_to_file($key, $files[1]);
        register_shutdown_function(fn () => array_map('unlink', $files));

        return $files;
    }
}
