<?php

declare(strict_types=1);

namespace CeleryBridge\Config;

use CeleryBridge\Exceptions\ExtensionNotLoaded;
use CeleryBridge\Exceptions\InvalidConfiguration;
use CeleryBridge\Transport\Extension;
use JsonSerializable;
use LogicException;
use SensitiveParameter;
use SensitiveParameterValue;

/**
 * The address of a server and the login. It is made from the array of one connection, in any of
 * the spellings that config/celery.php, Laravel's database.redis.* and celery-php use.
 *
 * No dump, cast, export or trace shows the login or the passphrase of a key, and it cannot be
 * serialized.
 */
final class Endpoint implements JsonSerializable
{
    private const DEFAULT_PORT = 6379;

    /** The keys of a RabbitMQ that its URL does not hold. */
    private const BESIDE_RABBITMQ = ['ssl', 'ssl_options', 'sslOptions', 'context', 'priority_steps', 'sep'];

    /**
     * The hidden values: [username, password, passphrase of the key]. A user without a password may
     * be a token.
     */
    private readonly SensitiveParameterValue $secrets;

    /** False if the address is a URL, and the extension that reads it is not loaded. */
    private bool $isRead = true;

    /** The URL of a RabbitMQ, of Sentinels or of a cluster, in place of the single values. */
    private ?WholeUrl $whole = null;

    /**
     * @param  string  $host  a name, an address, or the path of a unix socket
     * @param  array<string, mixed>  $ssl  options of PHP's "ssl" stream context, without the passphrase
     */
    private function __construct(
        public readonly string $connector,
        public readonly string $host,
        public readonly int $port,
        #[SensitiveParameter]
        ?string $username,
        #[SensitiveParameter]
        ?string $password,
        public readonly int $database,
        public readonly array $ssl,
        #[SensitiveParameter]
        ?string $passphrase,
        public readonly ?PriorityLists $priorities,
    ) {
        $this->secrets = new SensitiveParameterValue([$username, $password, $passphrase]);
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

        $asHost = empty($config['url']) ? self::urlAsHost($config['host'] ?? null) : null;
        $url = $asHost ?? $config['url'] ?? '';
        $url = is_array($url) ? implode(';', $url) : (string) $url;
        if ($url === '') {
            WholeUrl::refuseKeysOfSentinels($name, $config);
            $tls = filter_var($config['tls'] ?? false, FILTER_VALIDATE_BOOL) || self::sslOptions($name, $config) !== [];
            $url = (string) WholeUrl::ofRabbitMq($config, $tls);
            $config = $url === '' ? $config : array_intersect_key($config, array_flip(self::BESIDE_RABBITMQ));
        }
        if ($url !== '' && ! Extension::loaded()) {
            return self::unread();
        }
        $given = $url === '' ? [] : ServerUrl::read($name, $url);
        $whole = $given === [] ? null : WholeUrl::of($name, $url, $given, $config);
        if ($whole !== null) {
            return self::ofWhole($name, $whole, $given, $config);
        }
        if ($given !== []) {
            $given = ServerUrl::keys($given);
            // Other keys fill in what a `url` lacks, as in Laravel. A URL in the place of the host stands
            // beside celery-php's own default port, which does not count.
            $keys = $asHost === null ? $config : [];
            $given += ['host' => ($keys['host'] ?? null) ?: 'localhost', 'port' => $keys['port'] ?? null];
        }

        $ssl = ($given['ssl'] ?? []) + self::sslOptions($name, $config);
        $connector = (string) ($given['connector'] ?? $config['connector'] ?? 'redis') ?: 'redis';
        if (preg_match('/^[a-z][a-z0-9+.-]{0,31}$/iD', $connector) !== 1) {
            throw InvalidConfiguration::in($name, '"connector" is neither redis nor rediss');
        }
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
        if (! str_starts_with($host, '/') && str_contains($host, '@')) {
            throw InvalidConfiguration::in($name, '"host" has a login; write it as "url", such as redis://:password@host');
        }
        if ($tls && strcasecmp($connector, 'redis') === 0) {
            $connector = 'rediss';
        }

        return new self(
            $connector,
            trim($host, '[]'),
            (int) ($given === [] ? $config['port'] ?? 0 : $given['port']) ?: self::DEFAULT_PORT,
            self::text($given['username'] ?? $config['username'] ?? $config['user'] ?? $config['login'] ?? null),
            self::text($given['password'] ?? $config['password'] ?? null),
            self::database($name, $given['database'] ?? $config['database'] ?? $config['db'] ?? $config['vhost'] ?? 0),
            array_diff_key($ssl, ['passphrase' => 0]),
            self::text($ssl['passphrase'] ?? null),
            PriorityLists::fromConfig(
                $name,
                $given['priority_steps'] ?? $config['priority_steps'] ?? null,
                $given['sep'] ?? $config['sep'] ?? null,
            ),
        );
    }

    /**
     * @param  array<string, mixed>  $given  the parts of the URL
     * @param  array<string, mixed>  $config
     */
    private static function ofWhole(
        string $name,
        WholeUrl $whole,
        #[SensitiveParameter] array $given,
        #[SensitiveParameter] array $config,
    ): self {
        // The URL has them already. The extension refuses others beside them.
        $ssl = $given['ssl'] === [] ? self::sslOptions($name, $config) : [];
        if ($ssl === [] && ! $given['tls'] && filter_var($config['tls'] ?? false, FILTER_VALIDATE_BOOL)) {
            if ($whole->tlsScheme !== null) {
                throw InvalidConfiguration::in($name, "\"tls\" stands beside a URL {$given['scheme']}://; with TLS, the URL begins with {$whole->tlsScheme}://");
            }
            $ssl = ['verify_peer' => true];
        }
        $endpoint = new self(
            $given['scheme'],
            '',
            0,
            null,
            null,
            0,
            array_diff_key($ssl, ['passphrase' => 0]),
            self::text($ssl['passphrase'] ?? null),
            PriorityLists::fromConfig($name, $config['priority_steps'] ?? null, $config['sep'] ?? null),
        );
        $endpoint->whole = $whole;

        return $endpoint;
    }

    /**
     * Returns an endpoint that can only be shown.
     */
    private static function unread(): self
    {
        $endpoint = new self('redis', '', 0, null, null, 0, [], null, null);
        $endpoint->isRead = false;

        return $endpoint;
    }

    /**
     * Returns the arguments of celery-php's constructor, by name. The exchange is Celery's default:
     * each post names its queue.
     *
     * @return array{
     *     host: string,
     *     login?: string|null,
     *     password?: string|null,
     *     vhost?: int,
     *     exchange: string,
     *     binding: string,
     *     port?: int,
     *     connector?: string,
     *     persistent_messages: bool,
     *     result_expire: int,
     *     ssl_options: array<string, mixed>,
     *     priority_steps?: list<int>,
     *     sep?: string,
     * }
     *
     * @throws ExtensionNotLoaded the address is a URL, and the extension is not loaded
     */
    public function toArguments(): array
    {
        $this->ensureRead();
        [$username, $password] = $this->secrets->getValue();
        $server = $this->whole !== null ? ['host' => $this->whole->reveal()] : [
            'host' => $this->host,
            'login' => $username,
            'password' => $password,
            'vhost' => $this->database,
            'port' => $this->port,
            'connector' => $this->connector,
        ];

        return $server + [
            'exchange' => 'celery',
            'binding' => 'celery',
            'persistent_messages' => false,
            'result_expire' => 0,
            'ssl_options' => $this->ssl(),
        ] + ($this->priorities?->toArguments() ?? []);
    }

    /** Returns true for a RabbitMQ. */
    public function isRabbitMq(): bool
    {
        return $this->whole !== null && $this->whole->isRabbitMq;
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
     * Returns the address for people, with the password masked.
     */
    public function display(): string
    {
        if (! $this->isRead) {
            return 'a URL, which only the extension reads';
        }
        if ($this->whole !== null) {
            return $this->whole->display;
        }
        [$username, $password] = $this->secrets->getValue();
        $login = match (true) {
            // A whole login may have been given as the user by mistake.
            str_contains((string) $username, ':') => '***:***@',
            $password !== null => ($username ?? '').':***@',
            $username !== null => '***@',
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
     * @return array<string, mixed>
     */
    public function __serialize(): array
    {
        throw new LogicException('A Celery connection cannot be serialized: it holds a password. Name the connection instead.');
    }

    private function ensureRead(): void
    {
        if (! $this->isRead) {
            Extension::ensureLoaded();
        }
    }

    /**
     * @return array<string, mixed> options of PHP's "ssl" stream context
     */
    private function ssl(): array
    {
        $passphrase = $this->secrets->getValue()[2];

        return $this->ssl + ($passphrase === null ? [] : ['passphrase' => $passphrase]);
    }

    /**
     * Returns the host if it is a whole URL, which the extension accepts too. A scheme and a name
     * alone do not count as a whole URL.
     */
    private static function urlAsHost(#[SensitiveParameter] mixed $host): ?string
    {
        return is_string($host) && preg_match('#^(?:(?:rediss?|tls|tcp)://.*[@/?]|(?:redis\+socket|redis\+unix|socket|unix|sentinel|rediss?\+cluster|amqps?|pyamqp)://)#i', $host) === 1 ? $host : null;
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
