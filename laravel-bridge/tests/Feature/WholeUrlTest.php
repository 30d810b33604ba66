<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use CeleryBridge\Config\ConnectionSettings;
use CeleryBridge\Exceptions\InvalidConfiguration;
use CeleryBridge\Tests\Support\TestCase;

/**
 * URLs of Sentinels, of a Redis Cluster and of a RabbitMQ, which the extension gets as a whole.
 */
final class WholeUrlTest extends TestCase
{
    /** What config/celery.php has if nothing is set. */
    private const DEFAULTS = ['host' => '127.0.0.1', 'port' => 6379, 'username' => null, 'password' => null, 'database' => 0, 'tls' => false];

    protected function setUp(): void
    {
        parent::setUp();
        $this->needExtension();
    }

    public function test_the_url_is_passed_on_and_shown_with_a_masked_password(): void
    {
        foreach ([
            'sentinel://a;sentinel://b:1/2?master_name=m' => 'sentinel://a:26379;sentinel://b:1/2?master_name=m',
            'sentinel://u:pw@a?master_name=m&sentinel_password=pw2' => 'sentinel://u:********@a:26379/0?master_name=m',
            'redis+cluster://u:pw@a;redis+cluster://b:1?prefix={shop}:' => 'redis+cluster://u:********@a:6379;redis+cluster://b:1/0?prefix={shop}:',
            'rediss+cluster://a' => 'rediss+cluster://a:6379/0',
            'amqp://' => 'amqp://guest:********@localhost:5672//',
            'amqps://u:pw@h:7/shop' => 'amqps://u:********@h:7/shop',
            'pyamqp://h' => 'amqp://guest:********@h:5672//',
        ] as $url => $display) {
            foreach ([['url' => $url], ['host' => $url]] as $config) {
                $broker = ConnectionSettings::fromArray('c', $config + self::DEFAULTS)->broker;
                $this->assertSame([$display, $url], [$broker->display(), $broker->toArguments()['host']]);
                $this->assertArrayNotHasKey('port', $broker->toArguments());
                $this->assertSame(str_contains($url, 'amqp'), $broker->isRabbitMq());
            }
        }
    }

    public function test_results_as_replies_are_those_of_one_process(): void
    {
        foreach ([null, 'rpc', 'RPC://'] as $backend) {
            $settings = ConnectionSettings::fromArray('c', ['url' => 'amqp://h', 'result_backend' => $backend] + self::DEFAULTS);
            $this->assertSame([null, true, 'replies over the broker'], [$settings->resultBackend, $settings->hasOwnResultsOnly(), $settings->displayResults()]);
        }
        ini_set('celery.reply_queue', 'task');
        $this->assertFalse($settings->hasOwnResultsOnly());
        ini_restore('celery.reply_queue');

        $settings = ConnectionSettings::fromArray('c', ['url' => 'amqp://h', 'result_backend' => 'redis://r/1'] + self::DEFAULTS);
        $this->assertSame([false, 'redis://r:6379/1'], [$settings->hasOwnResultsOnly(), $settings->displayResults()]);
        config(['celery.connections.default' => ['url' => 'amqp://h']]);
        $this->command('migrate', ['--force' => true]);
        [$code, $output] = $this->command('celery:listen', ['--once' => true]);
        $this->assertSame(1, $code);
        $this->assertStringContainsString('celery.reply_queue = task', (string) preg_replace('/\s+/', ' ', $output));
    }

    public function test_several_servers_may_be_a_list(): void
    {
        $settings = ConnectionSettings::fromArray('c', ['url' => ['amqp://u:pw@a/v', 'amqp://u:pw@b:1/v']] + self::DEFAULTS);
        $this->assertSame('amqp://u:pw@a/v;amqp://u:pw@b:1/v', $settings->broker->toArguments()['host']);
        $this->assertSame('amqp://u:********@a:5672/v;amqp://u:********@b:1/v', $settings->broker->display());
        $this->assertTrue($settings->broker->isRabbitMq());

        $settings = ConnectionSettings::fromArray('c', [
            'url' => ['sentinel://a', 'sentinel://b?master_name=m'], 'result_backend' => ['sentinel://c', 'sentinel://d?master_name=n'],
        ] + self::DEFAULTS);

        $this->assertSame('sentinel://a;sentinel://b?master_name=m', $settings->broker->toArguments()['host']);
        $this->assertSame('sentinel://c:26379;sentinel://d:26379/0?master_name=n', $settings->resultBackend?->display());
    }

    public function test_other_keys_fill_in_what_a_url_of_sentinels_lacks(): void
    {
        $keys = ['username' => 'u', 'password' => 'p@/;', 'database' => '3', 'master_name' => 'the master', 'sentinel_username' => 'w', 'sentinel_password' => 'x&y'];
        foreach ([
            'sentinel://a' => 'sentinel://u:p%40%2F%3B@a?master_name=the%20master&sentinel_username=w&sentinel_password=x%26y&db=3',
            'sentinel://a;sentinel://b' => 'sentinel://u:p%40%2F%3B@a?master_name=the%20master&sentinel_username=w&sentinel_password=x%26y&db=3;sentinel://b',
            'sentinel://:own@a/2?master_name=own' => 'sentinel://:own@a/2?master_name=the%20master&sentinel_username=w&sentinel_password=x%26y&master_name=own',
        ] as $url => $filled) {
            $this->assertSame($filled, ConnectionSettings::fromArray('c', ['url' => $url] + $keys)->broker->toArguments()['host']);
        }
        $shown = ConnectionSettings::fromArray('c', ['url' => 'sentinel://:own@a/2?master_name=own'] + $keys)->broker->display();
        $this->assertSame('sentinel://:********@a:26379/2?master_name=own', $shown);
    }

    public function test_the_login_fills_in_what_a_url_of_a_cluster_lacks(): void
    {
        $url = ['redis+cluster://a', 'redis+cluster://b?prefix={shop}:'];
        $filled = ConnectionSettings::fromArray('c', ['url' => $url, 'username' => 'u', 'password' => 'p@/;'] + self::DEFAULTS);
        $this->assertSame('redis+cluster://u:p%40%2F%3B@a;redis+cluster://b?prefix={shop}:', $filled->broker->toArguments()['host']);
    }

    public function test_tls_to_the_redis_behind_sentinels(): void
    {
        $ssl = static fn (array $config): array => ConnectionSettings::fromArray('c', $config)->broker->toArguments()['ssl_options'];

        $this->assertSame([], $ssl(['url' => 'sentinel://a?master_name=m'] + self::DEFAULTS));
        $this->assertSame(['verify_peer' => true], $ssl(['url' => 'sentinel://a?master_name=m', 'tls' => true]));
        $this->assertSame(['cafile' => '/ca.pem'], $ssl(['url' => 'sentinel://a?master_name=m', 'ssl' => ['cafile' => '/ca.pem']]));
        // The URL has its own.
        $this->assertSame([], $ssl(['url' => 'sentinel://a?master_name=m&ssl_cert_reqs=none', 'ssl' => ['cafile' => '/ca.pem']]));
    }

    public function test_a_rabbitmq_in_celery_phps_values(): void
    {
        foreach ([
            [['connector' => 'php-amqplib', 'host' => 'mq', 'user' => 'u', 'password' => 'p/w', 'vhost' => '/', 'port' => 5672], 'amqp://u:p%2Fw@mq:5672/%2F'],
            [['connector' => 'pecl', 'host' => '::1', 'vhost' => 'shop', 'port' => null], 'amqp://[::1]/shop'],
            [['connector' => 'php-amqplib-ssl', 'host' => 'mq'], 'amqps://mq/%2F'],
            [['connector' => 'amqp', 'host' => 'mq', 'ssl_options' => ['cafile' => '/ca.pem']], 'amqps://mq/%2F'],
        ] as [$config, $url]) {
            $settings = ConnectionSettings::fromArray('c', $config);
            $this->assertSame($url, $settings->broker->toArguments()['host']);
            $this->assertTrue($settings->broker->isRabbitMq());
        }
    }

    public function test_what_cannot_be_right_is_refused(): void
    {
        foreach ([
            [['url' => 'redis://h', 'master_name' => 'm'], '"master_name" belongs to a URL sentinel://'],
            [['host' => 'h', 'sentinel_password' => 'hunterhush'], '"sentinel_password" belongs to a URL sentinel://'],
            [['url' => 'amqp://h', 'password' => 'hunterhush'], '"password" stands beside the URL of a RabbitMQ'],
            [['url' => 'amqp://h', 'database' => 3], '"database" is a number of Redis'],
            [['url' => 'amqp://h', 'tls' => true], 'begins with amqps://'],
            [['url' => 'redis+cluster://h', 'tls' => true], 'begins with rediss+cluster://'],
            [['url' => 'redis+cluster://h', 'database' => 3], 'a Redis Cluster has database 0 only'],
            [['url' => 'redis+cluster://h', 'master_name' => 'm'], '"master_name" belongs to a URL sentinel://'],
            [['url' => ['redis+cluster://h', 'h']], 'each of them needs its scheme'],
            [['url' => 'redis://h', 'result_backend' => 'rpc://'], 'means replies over RabbitMQ'],
            [['url' => 'sentinel://a;b'], 'each of them needs its scheme'],
            [['url' => ['redis://a', 'redis://b']], 'a list of brokers is not supported'],
            [['url' => 'sentinel://a', 'database' => 'x'], 'are numbers'],
        ] as [$config, $words]) {
            try {
                ConnectionSettings::fromArray('c', $config + self::DEFAULTS);
                $this->fail(json_encode($config).' was accepted');
            } catch (InvalidConfiguration $e) {
                $this->assertStringContainsString($words, $e->getMessage());
                $this->assertStringNotContainsString('hunterhush', $e->getMessage());
            }
        }
    }
}
