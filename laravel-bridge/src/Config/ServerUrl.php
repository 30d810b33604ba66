<?php

declare(strict_types=1);

namespace CeleryBridge\Config;

use CeleryBridge\Exceptions\InvalidConfiguration;
use SensitiveParameter;

/**
 * Splits the URL of a server into its parts, by the rules of the extension.
 *
 * The extension cannot do that here, because it may not be loaded where an application is
 * configured, shown (`about`, `celery:doctor`) or tested with `Celery::fake()`. Also, Laravel's
 * Redis component, which reads the sizes of queues, needs the parts and not the URL. A test
 * compares this reader with the extension's over a list of URLs. Only this reader knows `tcp` and
 * `tls`, which are schemes of phpredis.
 *
 * No message contains a part of the URL that may belong to a password.
 */
final class ServerUrl
{
    private const PLAIN = ['redis', 'tcp'];

    private const ENCRYPTED = ['rediss', 'tls'];

    private const SOCKET = ['unix', 'redis+socket', 'redis+unix', 'socket'];

    /** kombu's transport options that a URL's query may have. */
    private const PRIORITIES = ['priority_steps', 'sep'];

    private const DATABASE = ['virtual_host', 'db', 'database'];

    /**
     * Options of redis-py that may be in a URL shared with Python, and that change nothing here.
     */
    private const PASSED_OVER = [
        'client_name', 'health_check_interval', 'max_connections', 'retry_on_timeout', 'socket_connect_timeout',
        'socket_keepalive', 'socket_timeout', 'timeout',
    ];

    private const EXPECTED = 'its url cannot be read: redis://[user]:[password]@host:port/database is expected';

    private const NOT_ENCODED =
        'a password in a URL must be percent-encoded (%23 for #, %2F for /, %3F for ?, %40 for @)';

    /**
     * @return array<string, mixed> the keys of a connection's array that the URL gives
     */
    public static function parse(string $name, #[SensitiveParameter] string $url): array
    {
        $url = trim($url, " \t\n\r\v\f");
        if (preg_match('/[\x00-\x1f\x7f]/', $url) === 1) {
            throw InvalidConfiguration::in($name, 'its url has a control character');
        }
        if (preg_match('/^["\']/', $url) === 1) {
            throw InvalidConfiguration::in($name, 'its url stands in quotes, which do not belong to it');
        }
        [$scheme, $rest] = array_pad(explode('://', $url, 2), 2, null);
        if ($rest === null) {
            throw InvalidConfiguration::in($name, self::EXPECTED);
        }
        $scheme = strtolower($scheme);
        if (! in_array($scheme, [...self::PLAIN, ...self::ENCRYPTED, ...self::SOCKET], true)) {
            // The text before `://` may be a login without a scheme.
            $said = preg_match('/^[a-z][a-z0-9+.-]{0,31}$/', $scheme) === 1 ? "\"{$scheme}\" " : '';

            throw InvalidConfiguration::in($name, "the scheme {$said}of its url is not redis, rediss or unix");
        }
        if (self::isList($rest)) {
            throw InvalidConfiguration::in($name, 'its url names several servers; one is expected');
        }

        $given = in_array($scheme, self::SOCKET, true)
            ? self::socket($name, $rest)
            : self::tcp($name, $rest, in_array($scheme, self::ENCRYPTED, true));

        return array_filter(
            ['connector' => 'redis'] + $given,
            static fn (mixed $value): bool => $value !== '' && $value !== null,
        );
    }

    /**
     * @return array<string, mixed>
     */
    private static function socket(string $name, #[SensitiveParameter] string $rest): array
    {
        $authority = substr($rest, 0, strcspn($rest, '/'));
        $isPlace = $authority !== $rest && ($authority === '' || str_ends_with($authority, '@'));
        // A login that begins with a slash looks like the start of the path.
        $path = substr($rest, strlen($authority));
        $isCut = $isPlace ? str_contains($path, '@/') : self::cutsLogin($rest);
        if ($isCut || strpbrk($authority, '?#') !== false) {
            throw InvalidConfiguration::in($name, self::NOT_ENCODED);
        }
        if (! $isPlace) {
            throw InvalidConfiguration::in($name, 'the url of a unix socket needs an absolute path');
        }
        preg_match('~^(?<path>[^?#]*)(?:\?(?<query>[^#]*))?~', $path, $parts);
        $options = self::options($name, $parts['query'] ?? '', false);

        return [
            'host' => rawurldecode($parts['path']),
            'database' => $options['database'] ?? 0,
        ] + self::login(substr($authority, 0, -1)) + $options;
    }

    /**
     * @return array<string, mixed>
     */
    private static function tcp(string $name, #[SensitiveParameter] string $rest, bool $isEncrypted): array
    {
        if (self::cutsLogin($rest)) {
            throw InvalidConfiguration::in($name, self::NOT_ENCODED);
        }
        $place = '~^(?:(?<login>[^/?#]*)@)?(?<host>\[[^\]/?#]*\]|[^:/?#@\[\]]*)(?::(?<port>[0-9]{0,5}))?'
            .'(?<path>/[^?#]*)?(?:\?(?<query>[^#]*))?(?:#.*)?$~D';
        $isRead = preg_match($place, $rest, $parts, PREG_UNMATCHED_AS_NULL) === 1;
        $hasOnlyHost = $isRead && ($parts['login'] ?? $parts['port'] ?? null) === null;
        if (! $isRead || ($parts['host'] === '' && ! $hasOnlyHost) || (int) $parts['port'] > 65535) {
            throw InvalidConfiguration::in($name, self::EXPECTED);
        }

        $options = self::options($name, $parts['query'] ?? '', $isEncrypted);
        $path = rawurldecode(substr($parts['path'] ?? '', 1));
        $ofQuery = $options['database'] ?? null;
        if ($ofQuery !== null && trim($path, '/') !== '' && trim($path, '/') !== trim($ofQuery, '/')) {
            throw InvalidConfiguration::in($name, 'the path and the query of its url name different databases');
        }

        return [
            'tls' => $isEncrypted,
            'host' => rawurldecode($parts['host']),
            'port' => (int) $parts['port'] ?: null,
            'database' => $ofQuery ?? $path,
        ] + self::login($parts['login'] ?? '') + $options;
    }

    /**
     * @return array{username: string, password: string}
     */
    private static function login(#[SensitiveParameter] string $login): array
    {
        [$user, $password] = array_pad(explode(':', $login, 2), 2, '');

        return ['username' => rawurldecode($user), 'password' => rawurldecode($password)];
    }

    /** Returns true if a parser would cut the login short: an @ follows the first /, ? or #. */
    private static function cutsLogin(#[SensitiveParameter] string $rest): bool
    {
        return str_contains(substr($rest, strcspn($rest, '/?#')), '@');
    }

    private static function isList(#[SensitiveParameter] string $rest): bool
    {
        $place = substr($rest, (int) strrpos("@{$rest}", '@'));

        return preg_match('#[;,].*://#s', $rest) === 1
            || (! str_starts_with($place, '/') && strcspn($place, ';,') < strcspn($place, '?#'));
    }

    /**
     * Returns the options of the query, with Celery's names of TLS options replaced by PHP's.
     *
     * @return array<string, mixed>
     */
    private static function options(string $name, #[SensitiveParameter] string $query, bool $isEncrypted): array
    {
        $options = $ssl = [];
        foreach (explode('&', $query) as $pair) {
            [$key, $value] = array_map(urldecode(...), array_pad(explode('=', $pair, 2), 2, ''));
            if (str_starts_with($key, 'ssl_') && ! $isEncrypted) {
                throw InvalidConfiguration::in($name, 'its url has an ssl_ option and is not rediss://');
            }
            match (true) {
                $pair === '', in_array($key, self::PASSED_OVER, true) => null,
                in_array($key, self::PRIORITIES, true) => $options[$key] = $value,
                in_array($key, self::DATABASE, true) => $options['database'] = $value,
                default => $ssl = array_replace($ssl, self::sslOption($name, $key, $value)),
            };
        }

        return $options + ($ssl === [] ? [] : ['ssl' => $ssl]);
    }

    /**
     * @return array<string, mixed>
     */
    private static function sslOption(string $name, string $key, #[SensitiveParameter] string $value): array
    {
        $wrong = static fn () => throw InvalidConfiguration::in($name, "the option \"{$key}\" in its url has no such value");
        // The message shows the name of the option only if the text cannot be anything else.
        $said = preg_match('/^[a-z][a-z_]{0,31}$/', $key) === 1 ? "\"{$key}\" " : '';

        return match ($key) {
            'ssl_cert_reqs' => match (preg_replace('/^cert_/', '', strtolower($value))) {
                'none' => ['verify_peer' => false, 'verify_peer_name' => false],
                'required', 'optional' => ['verify_peer' => true],
                default => $wrong(),
            },
            'ssl_check_hostname' => ['verify_peer_name' => match (strtolower($value)) {
                '1', 'true' => true,
                '0', 'false', '' => false,
                default => $wrong(),
            }],
            'ssl_ca_certs' => ['cafile' => $value],
            'ssl_ca_path' => ['capath' => $value],
            'ssl_certfile' => ['local_cert' => $value],
            'ssl_keyfile' => ['local_pk' => $value],
            default => throw InvalidConfiguration::in($name, "the option {$said}in its url is not known"),
        };
    }
}
