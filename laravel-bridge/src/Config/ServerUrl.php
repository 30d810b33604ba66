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
     * @return array<string, mixed> the keys of a connection's array that the URL gives
     *
     * @throws InvalidConfiguration the extension refuses the URL; its message has no part of it that may be secret
     */
    public static function parse(string $name, #[SensitiveParameter] string $url): array
    {
        if (preg_match('~^\s*(tcp|tls)(://.*)$~is', $url, $parts) === 1) {
            $url = self::OF_PHPREDIS[strtolower($parts[1])].$parts[2];
        }
        try {
            $given = Client::parseUrl($url);
        } catch (UnusableUrl|ValueError $e) {
            throw InvalidConfiguration::in($name, $e->getMessage());
        }

        if ($given['path'] !== null) {
            $given = ['host' => $given['path'], 'database' => $given['database'] ?? 0] + $given;
        }
        unset($given['path']);

        return ['connector' => 'redis'] + array_filter($given, static fn (mixed $value): bool => $value !== null && $value !== []);
    }
}
