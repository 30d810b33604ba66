<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use AsyncResult;
use CeleryBridge\CeleryServiceProvider;
use CeleryBridge\Config\ConnectionSettings;
use CeleryBridge\Config\Endpoint;
use CeleryBridge\Config\KnownKeys;
use CeleryBridge\Exceptions\InvalidConfiguration;
use CeleryBridge\Tests\Support\TestCase;
use CeleryBridge\Transport\Extension;
use CeleryBridge\Transport\ExtensionTransport;
use CeleryException;
use ReflectionClass;
use ReflectionMethod;
use Throwable;

/** No output of the package has a part of a password, and its reader of URLs agrees with the extension's. */
final class SecretsTest extends TestCase
{
    private const FORMS = [
        'redis://%s@127.0.0.1:1/0', 'rediss://%s@h?db=1', 'unix://%s@/r.sock', 'redis+unix://%s@/r.sock', 'socket://%s@/r.sock',
        'tls://%s@h', 'amqp://%s@h', 'amqps://%s@h/v', 'sentinel://%s@a;sentinel://b?master_name=m', 'redis+cluster://%s@a;redis+cluster://b?prefix={m}', '%s@h', '"redis://%s@h"', 'redis://a/0;redis://%s@h', 'redis://%s@h/a@b', 'redis://%s@h?a=b@c',
        'redis://%s@h:port', 'redis://h/0?password=%s', 'redis://h/0?%s@h=1',
    ];

    /** @var array<string, string> */
    private array $ini = [];

    protected function setUp(): void
    {
        parent::setUp();
        // By default a trace shows no argument, or only its first fifteen characters.
        foreach (['zend.exception_ignore_args' => '0', 'zend.exception_string_param_max_len' => '1000'] as $name => $value) {
            $this->ini[$name] = (string) ini_set($name, $value);
        }
    }

    protected function tearDown(): void
    {
        array_map(ini_set(...), array_keys($this->ini), $this->ini);
        parent::tearDown();
    }

    /**
     * Returns logins with each reserved character in each place, raw and encoded.
     *
     * @return iterable<string>
     */
    private static function logins(): iterable
    {
        yield 'hunterhush';
        foreach (str_split(':/?#[]@!$&\'()*+,;=% "\\<>^`{|}') as $reserved) {
            foreach (["{$reserved}hunterhush", "hunter{$reserved}hush", "hunterhush{$reserved}"] as $secret) {
                yield from ["app:{$secret}", ":{$secret}", "a{$reserved}pp:hunterhush"];
                // A user without a password may be a token and must be hidden. Text before a colon
                // is a user and may be shown.
                yield $reserved === ':' ? ":{$secret}" : $secret;
                yield 'app:'.rawurlencode($secret);
                yield ':'.rawurlencode($secret);
            }
        }
    }

    /**
     * Returns every key that config/celery.php may have.
     *
     * @return list<string>
     */
    private static function keys(): array
    {
        $constants = (new ReflectionClass(KnownKeys::class))->getConstants();

        return [...$constants['SERVER'], ...$constants['CONNECTION']];
    }

    /** Checks everything that a call prints, throws and leaves in a trace. */
    private function assertHidden(string $way, #[\SensitiveParameter] string $url, callable $call): void
    {
        ob_start();
        try {
            $call();
        } catch (Throwable $e) {
            echo $e->getMessage(), $e->getTraceAsString();
            $ours = array_filter($e->getTrace(), static fn (array $frame): bool => str_starts_with($frame['class'] ?? '', 'CeleryBridge\\Config'));
            foreach (array_merge(...array_values(array_column($ours, 'args'))) as $argument) {
                // Laravel's objects hold the whole configuration.
                print_r(is_object($argument) ? $argument::class : $argument);
            }
        } finally {
            $text = (string) ob_get_clean();
        }
        if (preg_match('/hunt|hush/', $text) === 1) {
            $this->fail("{$way}, {$url}: {$text}");
        }
        $this->addToAssertionCount(1);
    }

    private static function dump(mixed $value): void
    {
        $dumps = [
            var_dump(...), print_r(...), var_export(...), static fn (mixed $value) => debug_zval_dump($value),
            static fn (mixed $value) => print json_encode($value), static fn (mixed $value) => print serialize($value),
            static fn (mixed $value) => print_r((array) $value),
        ];
        foreach ($dumps as $dump) {
            try {
                $dump($value);
            } catch (Throwable $e) {
                echo $e->getMessage();
            }
        }
    }

    public function test_no_output_has_a_password_whichever_key_it_stands_in(): void
    {
        $keys = array_diff(self::keys(), ['password', 'ssl', 'ssl_options', 'sslOptions', 'context']);
        $turn = 0;
        foreach (self::logins() as $login) {
            foreach (self::FORMS as $form) {
                $url = sprintf($form, $login);
                // Each URL is tried in the three keys that may hold one, and in two of the other
                // keys, in turn.
                $others = [array_values($keys)[$turn++ % count($keys)], array_values($keys)[$turn++ % count($keys)]];
                foreach (['url', 'host', 'result_backend', ...$others] as $key) {
                    if (str_starts_with($url, '/') && in_array($key, ['host', 'path'], true)) {
                        // In these keys the value is the path of a socket.
                        continue;
                    }
                    $this->assertHidden($key, $url, static function () use ($key, $url): void {
                        $settings = ConnectionSettings::fromArray('c', [$key => $url]);
                        if ($key !== 'username' && $key !== 'user' && $key !== 'login') {
                            echo $settings->broker->display(), $settings->resultBackend?->display();
                        }
                        if (preg_match('/queue|exchange|path|host/', $key) !== 1 || str_contains($url, '://')) {
                            self::dump($settings);
                        }
                    });
                }
            }
        }
    }

    public function test_no_output_has_a_password_of_an_array(): void
    {
        foreach (self::logins() as $login) {
            $config = ['host' => '127.0.0.1', 'port' => 1, 'username' => 'app', 'password' => $login];
            $ssl = ['local_pk' => '/key.pem', 'passphrase' => $login];
            foreach ([$config, $config + ['ssl' => $ssl], ['url' => 'rediss://h', 'context' => ['stream' => $ssl]], $config + ['vhost' => 'x']] as $given) {
                $this->assertHidden('array', $login, static function () use ($given): void {
                    $settings = ConnectionSettings::fromArray('c', ['result_backend' => $given] + $given + ['timeout' => 0.05]);
                    self::dump($settings);
                    self::dump($settings->broker);
                    self::dump(new ExtensionTransport($settings));
                    echo $settings->broker->display();
                });
            }
        }
        $broker = ConnectionSettings::fromArray('c', ['host' => 'h', 'password' => 'p', 'ssl' => ['passphrase' => 'q']])->broker;
        $this->assertSame(['p', ['passphrase' => 'q']], [$broker->toArguments()['password'], $broker->toArguments()['ssl_options']]);
    }

    public function test_a_post_that_fails_shows_no_password(): void
    {
        $port = parse_url((string) getenv('REDIS_URL'), PHP_URL_PORT);
        foreach (["redis://app:hunter%23hush@127.0.0.1:{$port}/0", 'redis://:hunter%2Fhush@127.0.0.1:1/0', 'unix://:hunterhush@/none.sock'] as $url) {
            $this->assertHidden('post', $url, function () use ($url): void {
                $transport = new ExtensionTransport(ConnectionSettings::fromArray('c', ['url' => $url, 'timeout' => 0.05]));
                foreach ([$transport->pingBroker(...), fn () => $transport->stored('id'), fn () => $transport->revoke('id')] as $call) {
                    try {
                        $call();
                        $this->fail('not refused');
                    } catch (CeleryException $e) {
                        echo $e->getMessage(), $e->getTraceAsString();
                    }
                }
            });
        }
    }

    public function test_names_and_files_show_no_password(): void
    {
        foreach (['redis://:hunter#hush@h', 'redis://app:hunter:hush@h/0', 'rediss://hunterhush@h'] as $url) {
            foreach ([
                ['celery.default' => $url], ['celery.connections' => [$url => []]], ['celery' => [$url => 1]], ['celery' => ['default' => $url]],
                ['celery.connections.default' => [$url => 1]], ['celery.connections.default' => ['redis' => $url]],
                ['celery.connections.default' => ['url' => $url]], ['celery.connections.default' => ['result_backend' => $url, 'host' => 'h']],
            ] as $changed) {
                $before = config('celery');
                config($changed);
                $this->assertHidden((string) key($changed), $url, function (): void {
                    print_r((new ReflectionMethod(CeleryServiceProvider::class, 'about'))->invoke(new CeleryServiceProvider($this->app)));
                    ConnectionSettings::fromRepository($this->app->make('config'));
                });
                config(['celery' => $before]);
            }
        }
    }

    /**
     * Returns the extension's identity of connection arguments: a hash of scheme, host, port,
     * database and user; null if it refuses them.
     *
     * @param  array<string, mixed>  $arguments
     */
    private static function identity(array $arguments): ?string
    {
        try {
            $stored = serialize(new AsyncResult('id', $arguments));
        } catch (CeleryException) {
            return null;
        }
        preg_match('/"connection";s:32:"([0-9a-f]{32})"/', $stored, $found);

        return $found[1];
    }

    public function test_urls_mean_what_they_mean_to_the_extension(): void
    {
        if (! Extension::loaded()) {
            $this->markTestSkipped('the extension is not loaded: run under `testkit up redis php --`');
        }

        $urls = [
            'redis://', 'redis:///', 'redis:///3', 'redis://h', 'REDIS://H', 'redis://h:7', 'redis://h:7/', 'redis://h:/2', 'redis://h:99999',
            'redis://h:x', 'redis://h/2', 'redis://h//', 'redis://h//2', 'redis://h/x', 'redis://h/-1', 'redis://h?db=3', 'redis://h/3?db=3',
            'redis://h/1?db=3', 'redis://h?virtual_host=/4', 'redis://h//?db=2', 'redis://h/0?db=2', 'redis://[::1]:7/1', 'redis://[::1', 'redis://u@h',
            'redis://u:p@h', 'redis://:p@h', 'redis://u%40v:p%2Fq@h/1', 'redis://u:@h', 'redis://@h', 'redis://:@h', 'redis://u:p@',
            'redis://u:p@/1', 'redis://u:p:q@h', 'redis://u:p@q@h', 'redis://u;v:p,w@h', 'redis://h,i', 'redis://h;i/0', 'redis://a/0;redis://b/0',
            'redis://h#x', 'redis://h/2#x', 'redis://u:p#w@h', 'redis://u:p/w@h', 'redis://u:p?w@h', 'redis://h/a@b', 'redis://h?a=b@c',
            'redis://h?socket_timeout=5', 'redis://h/2?health_check_interval=5&max_connections=3', 'redis://h?colour=red', 'redis://h?',
            'redis://h?priority_steps=0,9&sep=%3A', 'redis://h?priority_steps=9', 'redis://h?sep=123456789', 'redis://h?ssl_cert_reqs=none',
            'rediss://h', 'rediss://h:7/2?ssl_cert_reqs=none', 'rediss://h?ssl_cert_reqs=CERT_REQUIRED', 'rediss://h?ssl_cert_reqs=optional',
            'rediss://h?ssl_cert_reqs=perhaps', 'rediss://h?ssl_check_hostname=false', 'rediss://h?ssl_check_hostname=perhaps',
            'rediss://h?ssl_ca_path=/etc/ssl', 'rediss://h?ssl_version=3', 'unix:///r.sock', 'unix:///r.sock?db=2', 'socket:///r.sock',
            'redis+unix:///r%20s.sock?virtual_host=2', 'redis+socket://u:p%2Fq@/r.sock?virtual_host=/2', 'unix:///r@s.sock', 'unix:///u:p@/r.sock', 'unix:///p@/r.sock', 'unix://r.sock',
            'unix://h/r.sock', 'unix://u:p?w@/r.sock', 'unix://:p/w@/r.sock', 'unix:///r.sock?ssl_cert_reqs=none', 'unix:///a.sock;unix:///b.sock',
            'amqp://h', 'AMQPS://u:p@h:7/v', 'amqp://u:p/w@h', 'amqp://h?colour=red', 'pyamqp://h//', 'sentinel://a?master_name=m',
            'sentinel://u:p@a;sentinel://b:1/2?master_name=m', 'sentinel://a;redis://b?master_name=m', 'sentinel://a?colour=red&master_name=m', 'redis+cluster://u:p@a;rediss+cluster://b', 'redis+cluster://u:p@a;redis+cluster://b?prefix={m}', 'redis+cluster://a/1', ' redis://h/3 ', '"redis://h"', "'redis://h'", "redis://h\n", "redis://h\r\n/0",
            'redis://a%20b', 'redis://h/%31', 'redis://u:p@h/0?db=x',
        ];
        foreach ($urls as $url) {
            try {
                $read = Endpoint::fromArray('c', ['url' => $url])->toArguments();
                $ours = self::identity($read);
            } catch (InvalidConfiguration $e) {
                $ours = null;
            }
            $theirs = self::identity(['host' => $url]);
            $this->assertSame($theirs === null, $ours === null, "{$url}: ".($theirs === null ? 'the extension refuses it' : 'the extension takes it'));
            $this->assertSame($theirs, $ours, "{$url}: ".json_encode($read ?? null));
        }
        foreach (['redis://u:p%2F%40q@h' => 'p/@q', 'unix://:p%3Fq@/r.sock' => 'p?q', 'redis://:a+b@h' => 'a+b', 'redis://u:p:q@h' => 'p:q'] as $url => $password) {
            $this->assertSame($password, Endpoint::fromArray('c', ['url' => $url])->toArguments()['password']);
        }
    }
}
