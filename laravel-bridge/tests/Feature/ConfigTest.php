<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use CeleryBridge\Config\ConnectionSettings;
use CeleryBridge\Config\Endpoint;
use CeleryBridge\Config\FlatConfig;
use CeleryBridge\Config\KnownKeys;
use CeleryBridge\Exceptions\InvalidConfiguration;
use CeleryBridge\Facades\Celery;
use CeleryBridge\Tests\Support\Sandbox;
use CeleryBridge\Tests\Support\TestCase;
use Illuminate\Support\Facades\Queue;

/**
 * The reading of config/celery.php, in each of its forms.
 */
final class ConfigTest extends TestCase
{
    /** The flat file for celery-php, as applications have it. */
    private const FLAT = [
        'host' => 'redis',
        'user' => null,
        'password' => null,
        'vhost' => 0,
        'exchange' => 'celery',
        'binding' => 'celery',
        'port' => 6379,
        'connector' => 'redis',
        'persistent_messages' => false,
        'result_expire' => 0,
        'sslOptions' => [],
    ];

    protected function config(): array
    {
        return match ($this->testName()) {
            'test_a_flat_file_is_the_connection_default' => ['celery' => self::FLAT],
            'test_a_flat_file_with_tls_options_sets_celery_ssl_options' => [
                'celery' => ['sslOptions' => ['cafile' => '/ca.pem', 'passphrase' => null]] + self::FLAT,
            ],
            'test_the_gaps_of_an_old_flat_file_are_filled' => ['celery' => ['host' => 'broker', 'vhost' => '/3', 'exchange' => null]],
            'test_a_file_without_some_keys_gets_them' => ['celery' => ['connections' => ['mine' => ['host' => 'm']], 'default' => 'mine']],
            default => [],
        };
    }

    /** PHPUnit 9 calls it getName(), later ones name(). */
    private function testName(): string
    {
        return method_exists($this, 'name') ? $this->name() : $this->getName(false);
    }

    public function test_a_flat_file_is_the_connection_default(): void
    {
        $settings = Celery::settings();

        $this->assertSame('default', $settings->name);
        $this->assertSame([
            'host' => 'redis',
            'login' => null,
            'password' => null,
            'vhost' => 0,
            'port' => 6379,
            'connector' => 'redis',
            'exchange' => 'celery',
            'binding' => 'celery',
            'persistent_messages' => false,
            'result_expire' => 0,
            'ssl_options' => [],
        ], $settings->broker->toArguments());
        $this->assertSame('celery', $settings->queue);
        $this->assertSame([], config('celery.ssl_options'));
        $this->assertSame('redis', config('celery.host'), 'the keys stay for code that reads them itself');
    }

    public function test_a_flat_file_with_tls_options_sets_celery_ssl_options(): void
    {
        $this->assertSame(['cafile' => '/ca.pem', 'passphrase' => null], config('celery.ssl_options'));

        $settings = Celery::settings();
        $this->assertSame(['cafile' => '/ca.pem'], $settings->broker->ssl);
        $this->assertSame('rediss://redis:6379/0', $settings->broker->display());
    }

    public function test_the_gaps_of_an_old_flat_file_are_filled(): void
    {
        $this->assertSame('redis', config('celery.connector'));
        $this->assertSame([], config('celery.ssl_options'));
        $this->assertSame('default', config('celery.default'));
        $this->assertSame('redis://broker:6379/3', Celery::settings()->broker->display());
        $this->assertSame('celery', Celery::settings()->queue);
    }

    public function test_a_flat_value_set_later_counts(): void
    {
        config(['celery' => self::FLAT]);
        config(['celery.host' => 'other', 'celery.user' => 'u', 'celery.password' => 'p', 'celery.exchange' => 'ml']);

        $this->assertSame('redis://u:***@other:6379/0', Celery::settings()->broker->display());
        $this->assertSame('ml', Celery::settings()->queue);
    }

    public function test_a_file_without_some_keys_gets_them(): void
    {
        $this->assertSame('mine', Celery::settings()->name);
        $this->assertSame('redis://m:6379/0', Celery::settings()->broker->display());
    }

    public function test_laravels_own_redis_connections_can_be_referred_to(): void
    {
        $this->needExtension();
        config(['database.redis.queues' => [
            'url' => 'tls://laravel:pw@redis.test:6400/5',
            'host' => 'not-this',
            'context' => ['stream' => ['verify_peer' => false]],
        ]]);
        config(['celery.connections.default' => ['redis' => 'queues', 'host' => 'nor-this', 'queue' => 'ml']]);
        $broker = Celery::settings()->broker;

        $this->assertSame('rediss://laravel:***@redis.test:6400/5', $broker->display());
        $this->assertSame(['verify_peer' => false], $broker->ssl);
        $this->assertSame('pw', $broker->toArguments()['password']);
        $this->assertSame('ml', Celery::settings()->queue);
    }

    public function test_a_missing_redis_connection_is_named(): void
    {
        config(['celery.connections.default' => ['redis' => 'nowhere']]);

        $this->expectException(InvalidConfiguration::class);
        $this->expectExceptionMessage('[nowhere]');
        Celery::settings();
    }

    public function test_an_unknown_connection_is_named_with_those_there_are(): void
    {
        $this->expectException(InvalidConfiguration::class);
        $this->expectExceptionMessage('Celery connection [other]: it is not configured; config/celery.php has: default');
        Celery::connection('other');
    }

    public function test_addresses(): void
    {
        $this->needExtension();
        $cases = [
            [['url' => 'redis://h'], 'redis://h:6379/0'],
            [['url' => 'redis://h:1/2'], 'redis://h:1/2'],
            [['url' => 'redis://h', 'port' => '6390'], 'redis://h:6390/0'],
            [['url' => 'redis://:pw@h/2', 'host' => 'other', 'port' => 6390, 'database' => 5], 'redis://:***@h:6390/2'],
            [['url' => 'rediss://h', 'port' => null, 'database' => '5'], 'rediss://h:6379/5'],
            [['url' => 'redis://h:7', 'port' => 6390, 'password' => 'pw', 'username' => 'u'], 'redis://u:***@h:7/0'],
            [['url' => 'redis:///3', 'host' => 'other', 'port' => 6390], 'redis://other:6390/3'],
            [['url' => 'redis:///3'], 'redis://localhost:6379/3'],
            [['url' => 'unix:///run/redis.sock', 'host' => 'other', 'port' => 6390], 'unix:///run/redis.sock?db=0'],
            [['url' => 'redis://:p%40ss@h:1/'], 'redis://:***@h:1/0'],
            [['url' => 'redis://[::1]:7/1'], 'redis://[::1]:7/1'],
            [['url' => 'unix:///run/redis.sock?db=3'], 'unix:///run/redis.sock?db=3'],
            [['url' => 'redis+socket://:pw@/run/redis.sock?virtual_host=4'], 'unix://:***@/run/redis.sock?db=4'],
            [['url' => 'rediss://h?ssl_cert_reqs=required&ssl_ca_certs=/ca.pem'], 'rediss://h:6379/0'],
            [['host' => '/run/redis.sock', 'database' => '2'], 'unix:///run/redis.sock?db=2'],
            [['host' => 'tls://h', 'port' => '6390'], 'rediss://h:6390/0'],
            [['host' => 'redis://u:pw@h:7000/2', 'port' => 6379, 'vhost' => 0], 'redis://u:***@h:7000/2'],
            [['host' => 'rediss://:pw@h', 'port' => 6390, 'vhost' => 1], 'rediss://:***@h:6379/1'],
            [['host' => 'h', 'scheme' => 'tls'], 'rediss://h:6379/0'],
            [['host' => 'h', 'tls' => 'true', 'vhost' => '/'], 'rediss://h:6379/0'],
            [['host' => 'h', 'login' => '', 'password' => '', 'vhost' => null, 'port' => null], 'redis://h:6379/0'],
            [['url' => '', 'host' => 'h', 'vhost' => '/9'], 'redis://h:6379/9'],
        ];

        foreach ($cases as [$config, $address]) {
            $settings = ConnectionSettings::fromArray('c', $config);
            $this->assertSame($address, $settings->broker->display(), (string) json_encode($config));
        }

        $this->assertSame('p@ss', ConnectionSettings::fromArray('c', ['url' => 'redis://:p%40ss@h'])->broker->toArguments()['password']);
        $this->assertSame(
            ['verify_peer' => true, 'cafile' => '/ca.pem'],
            ConnectionSettings::fromArray('c', ['url' => 'rediss://h?ssl_cert_reqs=required&ssl_ca_certs=/ca.pem'])->broker->ssl,
        );
    }

    public function test_the_lists_of_a_queue(): void
    {
        $this->needExtension();
        $cases = [
            [[], []],
            [['priority_steps' => [0, 9], 'sep' => ':'], ['priority_steps' => [0, 9], 'sep' => ':']],
            [['priority_steps' => '0, 5'], ['priority_steps' => [0, 5]]],
            [['sep' => '-', 'priority_steps' => ''], ['sep' => '-']],
            [['url' => 'redis://h?priority_steps=0,1&sep=%3A'], ['priority_steps' => [0, 1], 'sep' => ':']],
            [['url' => 'unix:///r.sock?sep=.', 'sep' => ':'], ['sep' => '.']],
        ];

        $given = static fn (Endpoint $broker): array => array_intersect_key($broker->toArguments(), ['priority_steps' => 0, 'sep' => 0]);
        foreach ($cases as [$config, $arguments]) {
            $this->assertSame($arguments, $given(ConnectionSettings::fromArray('c', $config)->broker));
        }

        config(['database.redis.shared' => ['host' => 'h']]);
        config(['celery.connections.default' => ['redis' => 'shared', 'priority_steps' => [0, 9], 'sep' => ':']]);
        $this->assertSame(['priority_steps' => [0, 9], 'sep' => ':'], $given(Celery::settings()->broker));
    }

    public function test_what_cannot_be_right_is_refused(): void
    {
        $this->needExtension();
        $cases = [
            [['url' => 'mongodb://h'], 'mongodb'],
            [['url' => 'nonsense'], 'The URL cannot be used: this is not a URL of a Redis server'],
            [['url' => 'redis://h?colour=red'], 'colour'],
            [['vhost' => 'name'], 'is a number'],
            [['timeout' => 0], 'timeout'],
            [['timeout' => 'soon'], 'timeout'],
            [['ssl' => true], 'ssl must be an array'],
            [['priority_steps' => [3, 6]], 'must ascend from 0'],
            [['priority_steps' => '0,6,3'], 'must ascend from 0'],
            [['priority_steps' => '0,10'], 'numbers from 0 to 9'],
            [['priority_steps' => 5.5], 'numbers from 0 to 9'],
            [['sep' => '123456789'], '1 to 8 bytes'],
            [['url' => 'redis://h?priority_steps=9'], 'the first of the priority_steps must be 0'],
        ];

        foreach ($cases as [$config, $words]) {
            try {
                ConnectionSettings::fromArray('c', $config);
                $this->fail(json_encode($config).' was accepted');
            } catch (InvalidConfiguration $e) {
                $this->assertStringContainsString($words, $e->getMessage());
                $this->assertStringStartsWith('Celery connection [c]: ', $e->getMessage());
            }
        }
    }

    public function test_a_value_of_a_wrong_type_is_refused_by_name(): void
    {
        foreach ([
            'url' => [[], [''], [5], ['a' => 'redis://127.0.0.1/2'], 5, false, true, 1.5, (object) []],
            'host' => [['a', 'b'], 5, true],
            'path' => [['/r.sock'], false],
            'queue' => [['celery'], 5, true],
            'exchange' => [['celery']],
            'redis' => [['default'], 1],
            'connector' => [['redis'], true],
            'username' => [['app'], true, 1.5],
            'password' => [['secret'], true],
            'port' => ['abc', [6379], '6379x', 65536, 1.5, true],
            'result_backend' => [5, true, 1.5],
        ] as $key => $values) {
            foreach ($values as $value) {
                try {
                    ConnectionSettings::fromArray('shop', [$key => $value]);
                    $this->fail("{$key}: ".var_export($value, true));
                } catch (InvalidConfiguration $e) {
                    $this->assertStringContainsString("\"{$key}\" must be", $e->getMessage());
                    $this->assertStringNotContainsString('secret', $e->getMessage());
                }
            }
        }
        $settings = ConnectionSettings::fromArray('shop', [
            'url' => null, 'host' => 'h', 'port' => '6380', 'password' => 1234, 'username' => false, 'queue' => '',
            'result_backend' => false,
        ]);
        $this->assertSame([6380, 'celery'], [$settings->broker->port, $settings->queue]);
    }

    public function test_unknown_keys_of_a_connection_are_refused_with_what_was_meant(): void
    {
        $cases = [
            [['broker' => 'redis://h'], '"broker" is not known; "url" is probably meant'],
            [['broker_url' => 'redis://h'], '"url"'],
            [['brokerUrl' => 'redis://h'], '"url"'],
            [['URL' => 'redis://h'], '"url"'],
            [['hosst' => 'h'], '"host"'],
            [['hostname' => 'h'], '"host"'],
            [['user_name' => 'u'], '"username"'],
            [['resultBackend' => 'redis://h'], '"result_backend"'],
            [['after-commit' => false], '"after_commit"'],
            [['colour' => null], '"colour" is not known; the known keys are url, redis, '],
            [['redis://s3cret@h'], '"0" is not known'],
            [['default' => 'x'], '"default" belongs to the file itself'],
            [['result_backend' => ['broker' => 'redis://h']], '"broker" is not known; "url" is probably meant', 'c.result_backend'],
            [['result_backend' => ['url' => 'redis://h', 'queue' => 'q']], '"queue" belongs to the connection', 'c.result_backend'],
        ];

        foreach ($cases as $case) {
            [$config, $words] = $case;
            $this->assertRefused(
                fn () => ConnectionSettings::fromArray('c', $config + ['password' => 's3cret']),
                'Celery connection ['.($case[2] ?? 'c').']: the key ',
                $words,
            );
        }
    }

    public function test_unknown_keys_of_a_queue_connection_are_refused_with_what_was_meant(): void
    {
        foreach ([
            [['qeue' => 'ml'], '"qeue" is not known; "queue" is probably meant'],
            [['afterCommit' => false], '"afterCommit" is not known; "after_commit" is probably meant'],
            [['url' => 'redis://s3cret@h'], 'the key "url" belongs to a connection of config/celery.php'],
            [['retry_after' => 90], '"retry_after" is not known'],
            [['failed' => true], '"failed" is not known'],
        ] as $number => [$keys, $message]) {
            config(["queue.connections.c{$number}" => ['driver' => 'celery'] + $keys]);
            try {
                Queue::connection("c{$number}");
                $this->fail((string) json_encode($keys));
            } catch (InvalidConfiguration $e) {
                $this->assertStringContainsString('config/queue.php', $e->getMessage());
                $this->assertStringContainsString($message, $e->getMessage());
                $this->assertStringNotContainsString('s3cret', $e->getMessage());
            }
        }

        $all = ['driver' => 'celery', 'connection' => 'default', 'queue' => 'q', 'after_commit' => true, 'call_failed' => false];
        config(['queue.connections.all' => $all]);
        $this->assertSame('all', Queue::connection('all')->getConnectionName());
    }

    public function test_unknown_keys_of_the_file_are_refused_with_what_was_meant(): void
    {
        $cases = [
            [['broker' => 'redis://h'], '"broker" is not known; "url" is probably meant, which belongs to connections.default'],
            [['url' => 'redis://h'], '"url" belongs to connections.default'],
            [['conections' => []], '"conections" is not known; "connections" is probably meant'],
            [['defualt' => 'x'], '"default"'],
            [['timeout' => 3], '"timeout" belongs to connections.default'],
            [['tenants' => []], '"tenants" is not known; the known keys are default, connections'],
            [['brokr_url' => 'redis://h'] + self::FLAT, '"brokr_url" is not known'],
            [['result_backnd' => 'redis://h'] + self::FLAT, '"result_backend"'],
        ];

        foreach ($cases as [$file, $words]) {
            config(['celery' => $file]);
            $this->assertRefused(fn () => Celery::post('task'), 'config/celery.php: the key ', $words);
        }
    }

    public function test_laravels_own_redis_connections_may_have_keys_of_their_own(): void
    {
        config(['database.redis.queues' => ['host' => 'r', 'prefix' => 'app_', 'read_timeout' => 60, 'persistent' => true]]);
        config(['celery.connections.default' => ['redis' => 'queues']]);

        $this->assertSame('redis://r:6379/0', Celery::settings()->broker->display());
    }

    public function test_every_key_of_the_published_file_is_known(): void
    {
        $file = require Sandbox::bridge('config/celery.php');

        $this->assertNull(KnownKeys::problemOfFile($file));
        $this->assertNull(KnownKeys::problemOfConnection($file['connections']['default']));
        $this->assertNull(KnownKeys::problemOfFile(FlatConfig::complete(self::FLAT)));
    }

    private function assertRefused(callable $call, string $start, string $words): void
    {
        try {
            $call();
            $this->fail("not refused: {$words}");
        } catch (InvalidConfiguration $e) {
            $this->assertStringStartsWith($start, $e->getMessage());
            $this->assertStringContainsString($words, $e->getMessage());
            $this->assertStringNotContainsString('s3cret', $e->getMessage());
        }
    }

    public function test_a_url_that_would_be_cut_is_refused_with_what_to_write(): void
    {
        $this->needExtension();
        foreach ([
            'redis://:p/w@h' => '%2F for /', 'redis://:p?w@h/0' => '%3F for ?', 'rediss://u:p#w@h' => '%23 for #',
            'unix://:p/w@/r.sock' => '%2F for /', 'redis://h/0?db=a@b' => 'percent-encoded', 'redis://u:p@h/x@y' => 'percent-encoded',
            'redis://a/0;redis://b/0' => 'name one server', 'redis://a,b/0' => 'name one server', '"redis://h"' => 'quotes',
        ] as $url => $words) {
            $this->assertRefused(static fn () => ConnectionSettings::fromArray('c', ['url' => $url]), 'Celery connection [c]: ', $words);
        }
        foreach ([' redis://h ' => 'h', 'redis://:p;w@h' => 'h', 'redis://:p,w@h' => 'h', 'unix:///r@s.sock' => '/r@s.sock'] as $url => $host) {
            $this->assertSame($host, ConnectionSettings::fromArray('c', ['url' => $url])->broker->host);
        }
    }
}
