<?php

declare(strict_types=1);

namespace CeleryBridge\Config;

/**
 * The keys that config/celery.php, and a connection to it in config/queue.php, may have. Any other key is refused with an error that names it:
 * if a misspelt `url` were ignored, tasks would go to the default address.
 */
final class KnownKeys
{
    /** The keys of a server's address and login: for a connection, or its result backend. */
    private const SERVER = [
        'url', 'redis', 'connector', 'scheme', 'host', 'path', 'port', 'username', 'user', 'login', 'password', 'database',
        'db', 'vhost', 'tls', 'ssl', 'ssl_options', 'sslOptions', 'context', 'master_name', 'sentinel_username',
        'sentinel_password',
    ];

    /**
     * The other keys of a connection. The last three are celery-php's and have no effect on Redis.
     */
    private const CONNECTION = [
        'queue', 'exchange', 'result_backend', 'timeout', 'after_commit', 'priority_steps', 'sep',
        'binding', 'persistent_messages', 'result_expire',
    ];

    private const QUEUE_CONNECTION = ['driver', 'connection', 'queue', 'after_commit', 'call_failed'];

    public const FILE = ['default', 'connections', 'track', 'dashboard'];

    /** Words that people write instead of a key. Other words are compared by their spelling. */
    private const MEANT = [
        'broker' => 'url', 'broker_url' => 'url', 'brokerurl' => 'url', 'uri' => 'url', 'dsn' => 'url',
        'address' => 'host', 'server' => 'host', 'hostname' => 'host', 'socket' => 'path', 'unix_socket' => 'path',
        'driver' => 'connector', 'client' => 'connector', 'transport' => 'connector',
        'name' => 'username', 'pass' => 'password', 'passwd' => 'password', 'secret' => 'password', 'auth' => 'password',
        'virtual_host' => 'database', 'index' => 'database', 'service' => 'master_name', 'service_name' => 'master_name',
        'backend' => 'result_backend', 'results' => 'result_backend', 'result' => 'result_backend',
        'result_url' => 'result_backend', 'queues' => 'queue', 'routing_key' => 'queue', 'default_queue' => 'queue',
        'read_timeout' => 'timeout', 'connect_timeout' => 'timeout', 'post_timeout' => 'timeout', 'encryption' => 'tls',
        'connection' => 'default', 'default_connection' => 'default',
    ];

    /**
     * Returns the fault in the keys of the whole file; null if there is none.
     *
     * @param  array<array-key, mixed>  $config
     */
    public static function problemOfFile(array $config): ?string
    {
        if (FlatConfig::isFlat($config)) {
            return self::problem($config, [...self::FILE, ...self::SERVER, ...self::CONNECTION], []);
        }

        return self::problem($config, self::FILE, [
            'connections.default' => [...self::SERVER, ...self::CONNECTION],
        ]);
    }

    /**
     * @param  array<array-key, mixed>  $connection
     */
    public static function problemOfConnection(array $connection): ?string
    {
        return self::problem($connection, [...self::SERVER, ...self::CONNECTION], ['the file itself' => self::FILE]);
    }

    /**
     * @param  array<array-key, mixed>  $backend
     */
    public static function problemOfResultBackend(array $backend): ?string
    {
        return self::problem($backend, self::SERVER, ['the connection itself' => self::CONNECTION]);
    }

    /**
     * Returns the fault in the keys of a connection of config/queue.php.
     *
     * @param  array<array-key, mixed>  $connection
     */
    public static function problemOfQueueConnection(array $connection): ?string
    {
        return self::problem($connection, self::QUEUE_CONNECTION, [
            'a connection of config/celery.php' => [...self::SERVER, ...self::CONNECTION],
        ]);
    }

    /**
     * @param  array<array-key, mixed>  $config
     * @param  list<string>  $known
     * @param  array<string, list<string>>  $elsewhere  keys that are valid in another place
     */
    private static function problem(array $config, array $known, array $elsewhere): ?string
    {
        foreach (array_keys($config) as $key) {
            $key = (string) $key;
            if (in_array($key, $known, true)) {
                continue;
            }

            foreach ($elsewhere as $place => $keys) {
                $meant = in_array($key, $keys, true) ? $key : self::meant($key, $keys);
                if ($meant !== null && self::meant($key, $known) === null) {
                    return $meant === $key
                        ? "the key \"{$key}\" belongs to {$place}"
                        : "the key \"{$key}\" is not known; \"{$meant}\" is probably meant, which belongs to {$place}";
                }
            }

            $meant = self::meant($key, $known);

            // The name of a key may be a URL by mistake.
            $key = ValueTypes::isUrl($key) ? '**' : $key;

            return $meant !== null
                ? "the key \"{$key}\" is not known; \"{$meant}\" is probably meant"
                : "the key \"{$key}\" is not known; the known keys are ".implode(', ', $known);
        }

        return null;
    }

    /**
     * @param  list<string>  $known
     */
    private static function meant(string $key, array $known): ?string
    {
        // Changes brokerUrl, broker-url and BROKER_URL to broker_url, which is the spelling of the
        // keys above.
        $word = strtolower((string) preg_replace(['/(?<=[a-z0-9])(?=[A-Z])/', '/[^A-Za-z0-9]+/'], '_', $key));
        $word = (string) preg_replace('/^celery_/', '', $word);

        $meant = self::MEANT[$word] ?? null;
        if ($meant !== null && in_array($meant, $known, true)) {
            return $meant;
        }

        $best = null;
        $least = min(2, intdiv(strlen($word), 3)) + 1;
        foreach ($known as $candidate) {
            $distance = levenshtein($word, strtolower($candidate));
            if ($distance < $least) {
                [$best, $least] = [$candidate, $distance];
            }
        }

        return $best;
    }
}
