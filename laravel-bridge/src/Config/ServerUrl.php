<?php

declare(strict_types=1);

namespace CeleryBridge\Config;

use Celery\Client;
use Celery\InvalidConfiguration as UnusableUrl;
use CeleryBridge\Exceptions\InvalidConfiguration;
use SensitiveParameter;
use ValueError;

/**
 * Gives the parts of a server's URL as keys of a connection. The extension reads the URL.
 */
final class ServerUrl
{
    /** Schemes of phpredis, and what they are called here. */
    private const OF_PHPREDIS = ['tcp' => 'redis', 'tls' => 'rediss'];

    /**
     * Returns the parts of a URL, as the extension names them.
     *
     * @return array<string, mixed>
     *
     * @throws InvalidConfiguration the extension refuses the URL; its message has no part of it that may be secret
     */
    public static function read(string $name, #[SensitiveParameter] string $url): array
    {
        if (preg_match('~^\s*(tcp|tls)(://.*)$~is', $url, $parts) === 1) {
            $url = self::OF_PHPREDIS[strtolower($parts[1])].$parts[2];
        }
        try {
            return Client::parseUrl($url);
        } catch (UnusableUrl|ValueError $e) {
            throw InvalidConfiguration::in($name, $e->getMessage());
        }
    }

    /**
     * Returns the keys of a connection's array that the URL of one Redis gives.
     *
     * @param  array<string, mixed>  $parts
     * @return array<string, mixed>
     */
    public static function keys(#[SensitiveParameter] array $parts): array
    {
        if ($parts['path'] !== null) {
            $parts = ['host' => $parts['path'], 'database' => $parts['database'] ?? 0] + $parts;
        }
        unset($parts['path'], $parts['scheme'], $parts['display']);

        return ['connector' => 'redis'] + array_filter($parts, static fn (mixed $value): bool => $value !== null && $value !== []);
    }
}
