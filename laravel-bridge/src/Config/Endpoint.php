<?php

declare(strict_types=1);

namespace CeleryBridge\Config;

use CeleryBridge\Exceptions\InvalidConfiguration;
use JsonSerializable;
use SensitiveParameter;

/**
 * One server: where it is and how to log in. Made from the array of one connection, in any of the spellings that
 * config/celery.php, Laravel's database.redis.* and celery-php use.
 *
 * Neither `var_dump`, `print_r` nor `json_encode` shows the password or the passphrase of a key.
 */
final class Endpoint implements JsonSerializable
{
    private const DEFAULT_PORT = 6379;

    /** The schemes that name a place of Redis. */
    private const SCHEMES = ['redis', 'rediss', 'tcp', 'tls', 'unix', 'redis+socket'];

    /** kombu's transport options that a URL's query may have. */
    private const PRIORITIES = ['priority_steps' => 0, 'sep' => 0];

    /**
     * @param  string  $host  a name, an address, or the path of a unix socket
     * @param  array<string, mixed>  $ssl  options of PHP's "ssl" stream context
     */
    private function __construct(
        public readonly string $connector,
        public readonly string $host,
        public readonly int $port,
        public readonly ?string $username,
        #[SensitiveParameter]
        private readonly ?string $password,
        public readonly int $database,
        public readonly array $ssl,
        public readonly ?PriorityLists $priorities,
    ) {
    }

    /**
     * @param  string  $name  the connection's name, for messages
     * @param  array<string, mixed>  $config
     */
    public static function fromArray(string $name, #[SensitiveParameter] array $config): self
    {
        $problem = ValueTypes::problem($config);
        if ($problem !== null) {
            throw InvalidConfiguration::in($name, $problem);
        }

        $url = $config['url'] ?? null ?: self::urlAsHost($config['host'] ?? null);
        $given = is_string($url) && $url !== '' ? self::parseUrl($name, $url) : [];

        $ssl = ($given['ssl'] ?? []) + self::sslOptions($name, $config);
        $connector = (string) ($given['connector'] ?? $config['connector'] ?? 'redis') ?: 'redis';
        $tls = ($given['tls'] ?? false)
            || filter_var($config['tls'] ?? false, FILTER_VALIDATE_BOOL)
            || in_array($config['scheme'] ?? null, ['tls', 'rediss'], true)
            || $ssl !== [];
        $host = (string) ($given['host'] ?? ($config['path'] ?? null) ?: ($config['host'] ?? null) ?: '127.0.0.1');

        if (preg_match('#^(tls|rediss|tcp|redis|ssl)://([^/]+)$#', $host, $parts) === 1) {
            $tls = $tls || in_array($parts[1], ['tls', 'rediss', 'ssl'], true);
            $host = $parts[2];
        }
        if (preg_match('#^unix:(//)?(/.*)$#', $host, $parts) === 1) {
            $host = $parts[2];
        }
        if ($tls && strcasecmp($connector, 'redis') === 0) {
            $connector = 'rediss';
        }

        return new self(
            $connector,
            trim($host, '[]'),
            (int) ($given['port'] ?? $config['port'] ?? self::DEFAULT_PORT) ?: self::DEFAULT_PORT,
            self::text($given['username'] ?? $config['username'] ?? $config['user'] ?? $config['login'] ?? null),
            self::text($given['password'] ?? $config['password'] ?? null),
            self::database($name, $given['database'] ?? $config['database'] ?? $config['db'] ?? $config['vhost'] ?? 0),
            $ssl,
            PriorityLists::fromConfig(
                $name,
                $given['priority_steps'] ?? $config['priority_steps'] ?? null,
                $given['sep'] ?? $config['sep'] ?? null,
            ),
        );
    }

    /**
     * The arguments of celery-php's constructor, by name. The exchange stays Celery's own: queues are named a post.
     *
     * @return array{
     *     host: string,
     *     login: string|null,
     *     password: string|null,
     *     vhost: int,
     *     exchange: string,
     *     binding: string,
     *     port: int,
     *     connector: string,
     *     persistent_messages: bool,
     *     result_expire: int,
     *     ssl_options: array<string, mixed>,
     *     priority_steps?: list<int>,
     *     sep?: string,
     * }
     */
    public function toArguments(): array
    {
        return [
            'host' => $this->host,
            'login' => $this->username,
            'password' => $this->password,
            'vhost' => $this->database,
            'exchange' => 'celery',
            'binding' => 'celery',
            'port' => $this->port,
            'connector' => $this->connector,
            'persistent_messages' => false,
            'result_expire' => 0,
            'ssl_options' => $this->ssl,
        ] + ($this->priorities?->toArguments() ?? []);
    }

    /**
     * The connection as Laravel's Redis component takes it, without the application's key prefix.
     *
     * @return array<string, mixed>
     */
    public function toLaravelRedis(float $timeout): array
    {
        $config = [
            'host' => $this->host,
            'port' => $this->isSocket() ? 0 : $this->port,
            'database' => $this->database,
            'timeout' => $timeout,
            'read_timeout' => $timeout,
            'read_write_timeout' => $timeout,
        ];

        if ($this->isSocket()) {
            $config += ['scheme' => 'unix', 'path' => $this->host];
        } elseif ($this->isTls()) {
            $config += ['scheme' => 'tls', 'context' => ['stream' => $this->ssl], 'ssl' => $this->ssl];
        }

        return $config + array_filter(
            ['username' => $this->username, 'password' => $this->password],
            static fn (?string $value): bool => $value !== null,
        );
    }

    public function isSocket(): bool
    {
        return str_starts_with($this->host, '/');
    }

    public function isTls(): bool
    {
        return strcasecmp($this->connector, 'rediss') === 0;
    }

    /**
     * For people: the address with the password masked.
     */
    public function display(): string
    {
        $login = match (true) {
            $this->password !== null => ($this->username ?? '').':***@',
            $this->username !== null => $this->username.'@',
            default => '',
        };

        if ($this->isSocket()) {
            return "unix://{$login}{$this->host}?db={$this->database}";
        }

        $host = str_contains($this->host, ':') ? "[{$this->host}]" : $this->host;

        return strtolower($this->connector)."://{$login}{$host}:{$this->port}/{$this->database}";
    }

    /**
     * @return array<string, mixed>
     */
    public function __debugInfo(): array
    {
        return ['address' => $this->display()];
    }

    /**
     * @return array<string, string>
     */
    public function jsonSerialize(): array
    {
        return $this->__debugInfo();
    }

    /**
     * A whole URL given as host, which the extension understands as well: more than a scheme and a name.
     */
    private static function urlAsHost(#[SensitiveParameter] mixed $host): ?string
    {
        return is_string($host) && preg_match('#^(?:rediss?|tls|tcp)://.*[@/?]#', $host) === 1 ? $host : null;
    }

    /**
     * @return array<string, mixed>
     */
    private static function parseUrl(string $name, #[SensitiveParameter] string $url): array
    {
        $url = trim($url);
        self::checkUrl($name, $url);

        $socket = '#^(?:unix|redis\+socket)://(?:(?<login>[^@/]*)@)?(?<path>/[^?]*)(?:\?(?<query>.*))?$#';
        if (preg_match($socket, $url, $parts) === 1) {
            parse_str($parts['query'] ?? '', $query);
            [$user, $password] = array_pad(explode(':', $parts['login'] ?? '', 2), 2, '');

            return array_filter([
                'connector' => 'redis',
                'host' => $parts['path'],
                'username' => rawurldecode($user),
                'password' => rawurldecode($password),
                'database' => $query['virtual_host'] ?? $query['db'] ?? $query['database'] ?? 0,
            ] + array_intersect_key($query, self::PRIORITIES), static fn (mixed $value): bool => $value !== '');
        }

        $parts = parse_url($url);
        if ($parts === false || ! isset($parts['scheme'], $parts['host'])) {
            throw InvalidConfiguration::in(
                $name,
                'its url is not one: redis://[user]:[password]@host:port/database is expected',
            );
        }
        parse_str($parts['query'] ?? '', $query);

        $tls = in_array(strtolower($parts['scheme']), ['rediss', 'tls'], true);

        return array_filter([
            'connector' => 'redis',
            'tls' => $tls,
            'host' => $parts['host'],
            'port' => $parts['port'] ?? self::DEFAULT_PORT,
            'username' => rawurldecode($parts['user'] ?? ''),
            'password' => rawurldecode($parts['pass'] ?? ''),
            'database' => trim($parts['path'] ?? '', '/') ?: $query['virtual_host'] ?? $query['db'] ?? '',
            'ssl' => self::sslQuery(
                $name,
                array_diff_key($query, ['virtual_host' => 0, 'db' => 0] + self::PRIORITIES),
            ),
        ] + array_intersect_key($query, self::PRIORITIES), static fn (mixed $value): bool => $value !== '');
    }

    /**
     * Refuses what every reader of URLs would take apart in the wrong place.
     *
     * No message has a part of the URL that may belong to a password.
     */
    private static function checkUrl(string $name, #[SensitiveParameter] string $url): void
    {
        if (preg_match('/^["\']/', $url) === 1) {
            throw InvalidConfiguration::in($name, 'its url stands in quotes, which do not belong to it');
        }
        [$scheme, $rest] = array_pad(explode('://', $url, 2), 2, null);
        if ($rest === null) {
            throw InvalidConfiguration::in(
                $name,
                'its url is not one: redis://[user]:[password]@host:port/database is expected',
            );
        }
        if (! in_array(strtolower($scheme), self::SCHEMES, true)) {
            // What stands before `://` may be a login without a scheme.
            $said = preg_match('/^[a-z][a-z0-9+.-]{0,31}$/i', $scheme) === 1 ? "\"{$scheme}\" " : '';

            throw InvalidConfiguration::in($name, "the scheme {$said}of its url is not redis, rediss or unix");
        }

        $place = substr($rest, (int) strrpos("@{$rest}", '@'));
        $isList = preg_match('#[;,].*://#s', $rest) === 1
            || (! str_starts_with($place, '/') && strcspn($place, ';,') < strcspn($place, '?#'));
        if ($isList) {
            throw InvalidConfiguration::in($name, 'its url names several servers; one is expected');
        }
        $isSocket = str_starts_with($rest, '/');
        if (! $isSocket && str_contains(substr($rest, strcspn($rest, '/?#')), '@')) {
            throw InvalidConfiguration::in(
                $name,
                'a password in a URL must be percent-encoded (%23 for #, %2F for /, %3F for ?, %40 for @)',
            );
        }
    }

    /**
     * Names an option only if nothing but a name can be meant.
     */
    private static function unknownOption(string $key): string
    {
        $said = preg_match('/^[a-z][a-z_]{0,31}$/', $key) === 1 ? "\"{$key}\" " : '';

        return "the option {$said}in its url is not known";
    }

    /**
     * Celery's names of TLS options in a URL's query, as PHP's.
     *
     * @param  array<array-key, mixed>  $query
     * @return array<string, mixed>
     */
    private static function sslQuery(string $name, #[SensitiveParameter] array $query): array
    {
        $options = [];

        foreach ($query as $key => $value) {
            $options += match ($key) {
                'ssl_cert_reqs' => in_array(strtolower((string) $value), ['none', 'cert_none'], true)
                    ? ['verify_peer' => false, 'verify_peer_name' => false]
                    : ['verify_peer' => true],
                'ssl_ca_certs' => ['cafile' => $value],
                'ssl_certfile' => ['local_cert' => $value],
                'ssl_keyfile' => ['local_pk' => $value],
                'ssl_check_hostname' => ['verify_peer_name' => filter_var($value, FILTER_VALIDATE_BOOL)],
                default => throw InvalidConfiguration::in($name, self::unknownOption((string) $key)),
            };
        }

        return $options;
    }

    /**
     * @param  array<string, mixed>  $config
     * @return array<string, mixed>
     */
    private static function sslOptions(string $name, #[SensitiveParameter] array $config): array
    {
        $context = $config['context'] ?? [];
        $ssl = null;
        foreach (['ssl', 'ssl_options', 'sslOptions'] as $key) {
            $ssl = $ssl ?: ($config[$key] ?? null);
        }
        $ssl = $ssl ?: $context['ssl'] ?? $context['stream'] ?? [];

        if (! is_array($ssl)) {
            throw InvalidConfiguration::in($name, 'ssl must be an array of options; plain TLS is tls => true');
        }

        return array_filter($ssl, static fn (mixed $value): bool => $value !== null && $value !== '');
    }

    private static function database(string $name, #[SensitiveParameter] mixed $value): int
    {
        $digits = is_string($value) ? ltrim($value, '/') : $value;

        return match (true) {
            $digits === null, $digits === '', $digits === false => 0,
            is_int($digits) && $digits >= 0, is_string($digits) && ctype_digit($digits) => (int) $digits,
            default => throw InvalidConfiguration::in($name, 'the database (vhost) of a Redis connection is a number'),
        };
    }

    private static function text(mixed $value): ?string
    {
        return $value === null || $value === '' || $value === false ? null : (string) $value;
    }
}
