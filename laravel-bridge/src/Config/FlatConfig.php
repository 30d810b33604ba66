<?php

declare(strict_types=1);

namespace CeleryBridge\Config;

/**
 * Lets applications keep the flat config/celery.php for celery-php. Its keys are read as the
 * connection "default", and stay in place for code that reads `config('celery.host')` itself.
 *
 * `complete()` may run twice on one configuration: with `config:cache`, its input is its own
 * earlier output.
 */
final class FlatConfig
{
    /**
     * The constructor's arguments of celery-php's class, in their order, with defaults for those
     * that a file may lack.
     */
    public const DEFAULTS = [
        'host' => 'localhost',
        'user' => null,
        'password' => null,
        'vhost' => 0,
        'exchange' => 'celery',
        'binding' => 'celery',
        'port' => 6379,
        'connector' => 'redis',
        'persistent_messages' => false,
        'result_expire' => 0,
        'ssl_options' => [],
    ];

    /**
     * @param  array<string, mixed>  $config  the whole of config/celery.php
     */
    public static function isFlat(array $config): bool
    {
        return array_key_exists('host', $config) || array_key_exists('connector', $config);
    }

    /**
     * Returns the application's configuration with the missing values of the flat form added.
     *
     * @param  array<string, mixed>  $config
     * @return array<string, mixed>
     */
    public static function complete(array $config): array
    {
        if (! self::isFlat($config)) {
            return $config;
        }

        $config['ssl_options'] = ($config['ssl_options'] ?? null) ?: ($config['sslOptions'] ?? null) ?: [];
        $config += self::DEFAULTS;

        return $config;
    }
}
