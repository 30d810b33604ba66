<?php

declare(strict_types=1);

namespace CeleryBridge\Config;

use CeleryBridge\Exceptions\InvalidConfiguration;
use SensitiveParameter;
use SensitiveParameterValue;

/**
 * The URL of a RabbitMQ, of the Sentinels of a Redis, or of a Redis Cluster, which the extension gets as a whole.
 */
final class WholeUrl
{
    /** celery-php's names for a RabbitMQ, and the scheme of each. */
    private const CONNECTORS = [
        'pecl' => 'amqp', 'php-amqplib' => 'amqp', 'amqp' => 'amqp', 'pyamqp' => 'amqp',
        'php-amqplib-ssl' => 'amqps', 'amqps' => 'amqps',
    ];

    /** Keys of a connection, and the parameters that they are in a URL of Sentinels. */
    private const OF_SENTINELS = [
        'master_name' => 'master_name',
        'sentinel_username' => 'sentinel_username',
        'sentinel_password' => 'sentinel_password',
    ];

    private readonly SensitiveParameterValue $url;

    /**
     * @param  string  $display  the address for people, with the password masked
     * @param  string|null  $tlsScheme  the scheme that turns TLS on; null if an option does
     */
    private function __construct(
        #[SensitiveParameter]
        string $url,
        public readonly string $display,
        public readonly bool $isRabbitMq,
        public readonly ?string $tlsScheme,
    ) {
        $this->url = new SensitiveParameterValue($url);
    }

    public function reveal(): string
    {
        return $this->url->getValue();
    }

    /**
     * Returns what the extension gets in place of single values; null if the URL is that of one Redis.
     *
     * @param  array<string, mixed>  $parts  what the extension says of the URL
     * @param  array<string, mixed>  $config  the connection, whose values fill in what the URL lacks
     */
    public static function of(
        string $name,
        #[SensitiveParameter] string $url,
        #[SensitiveParameter] array $parts,
        #[SensitiveParameter] array $config,
    ): ?self {
        $isRabbitMq = str_starts_with($parts['scheme'], 'amqp');
        $hasSentinels = isset($parts['sentinels']);
        if (! $hasSentinels) {
            self::refuseKeysOfSentinels($name, $config);
        }
        if (! $isRabbitMq && ! $hasSentinels && ! isset($parts['cluster'])) {
            return null;
        }
        if ($isRabbitMq) {
            self::refuse($name, $config, ['username', 'user', 'login', 'password'], 'stands beside the URL of a RabbitMQ, which must have the login itself');
            self::refuse($name, $config, ['database', 'db'], 'is a number of Redis; the virtual host of a RabbitMQ belongs in its URL');
        } else {
            $url = self::filled($url, $parts, $config);
            $parts = ServerUrl::read($name, $url);
        }

        $tlsScheme = match (true) {
            $isRabbitMq => 'amqps',
            $hasSentinels => null,
            default => 'rediss+cluster',
        };

        return new self($url, $parts['display'], $isRabbitMq, $tlsScheme);
    }

    /**
     * Returns the URL of a RabbitMQ that single values describe, as celery-php has them; null if they
     * describe a Redis.
     *
     * @param  array<string, mixed>  $config
     */
    public static function ofRabbitMq(#[SensitiveParameter] array $config, bool $tls): ?string
    {
        $scheme = self::CONNECTORS[strtolower((string) ($config['connector'] ?? ''))] ?? null;
        if ($scheme === null) {
            return null;
        }
        $user = $config['username'] ?? $config['user'] ?? $config['login'] ?? null;
        $login = $user === null || $user === '' ? '' : rawurlencode((string) $user)
            .':'.rawurlencode((string) ($config['password'] ?? '')).'@';
        $host = (string) (($config['host'] ?? null) ?: 'localhost');
        $host = str_contains($host, ':') ? '['.trim($host, '[]').']' : $host;
        $port = empty($config['port']) ? '' : ':'.(int) $config['port'];

        return ($tls ? 'amqps' : $scheme)."://{$login}{$host}{$port}/".rawurlencode((string) ($config['vhost'] ?? '/'));
    }

    /**
     * Returns a URL of Sentinels or of a cluster with what only the connection's other keys have.
     *
     * @param  array<string, mixed>  $parts
     * @param  array<string, mixed>  $config
     */
    private static function filled(
        #[SensitiveParameter] string $url,
        #[SensitiveParameter] array $parts,
        #[SensitiveParameter] array $config,
    ): string {
        // The parts of a list may be with any of its URLs.
        $urls = explode(';', trim($url), 2);
        [$scheme, $rest] = explode('://', $urls[0], 2);
        $user = (string) ($config['username'] ?? $config['user'] ?? $config['login'] ?? '');
        $password = (string) ($config['password'] ?? '');
        if ($user.$password !== '' && $parts['username'] === null && $parts['password'] === null) {
            $rest = rawurlencode($user).($password === '' ? '' : ':'.rawurlencode($password))."@{$rest}";
        }

        $query = [];
        foreach (isset($parts['sentinels']) ? self::OF_SENTINELS : [] as $key => $parameter) {
            $query[$parameter] = (string) ($config[$key] ?? '');
        }
        $database = ltrim((string) ($config['database'] ?? $config['db'] ?? $config['vhost'] ?? ''), '/');
        $query['db'] = $parts['database'] === null && $database !== '0' ? $database : '';
        $query = http_build_query(array_filter($query, static fn (string $value): bool => $value !== ''), '', '&', PHP_QUERY_RFC3986);
        // What the URL says itself comes later, and counts.
        [$place, $own] = array_pad(explode('?', $rest, 2), 2, '');
        $query = implode('&', array_filter([$query, $own], static fn (string $part): bool => $part !== ''));
        $urls[0] = "{$scheme}://{$place}".($query === '' ? '' : "?{$query}");

        return implode(';', $urls);
    }

    /**
     * Refuses what only a connection with Sentinels has.
     *
     * @param  array<string, mixed>  $config
     */
    public static function refuseKeysOfSentinels(string $name, #[SensitiveParameter] array $config): void
    {
        self::refuse($name, $config, array_keys(self::OF_SENTINELS), 'belongs to a URL sentinel://…');
    }

    /**
     * @param  array<string, mixed>  $config
     * @param  list<string>  $keys
     */
    private static function refuse(string $name, #[SensitiveParameter] array $config, array $keys, string $why): void
    {
        foreach ($keys as $key) {
            if (! in_array($config[$key] ?? null, [null, '', false, 0, '0'], true)) {
                throw InvalidConfiguration::in($name, "\"{$key}\" {$why}");
            }
        }
    }
}
