<?php

declare(strict_types=1);

namespace CeleryBridge\Config;

use SensitiveParameter;
use Stringable;

/**
 * The types that values in config/celery.php may have. A value of any other type is refused with an
 * error that names its key. Otherwise a list instead of a URL would send tasks to the default
 * address.
 */
final class ValueTypes
{
    private const TEXT = ['redis', 'connector', 'scheme', 'host', 'path', 'queue', 'exchange', 'master_name', 'sentinel_username'];

    /**
     * Text, or a number that was written without quotes. False means no value, as in celery-php.
     */
    private const LOGIN = ['username', 'user', 'login', 'password', 'sentinel_password'];

    /** Keys whose text may be a URL, or any text. */
    private const ANY = ['url', 'host', 'password', 'sentinel_password', 'result_backend'];

    /** Returns true for the URLs of several Sentinels or nodes. An empty list would mean the default address. */
    private static function isListOfText(mixed $value): bool
    {
        return is_array($value) && $value !== [] && array_is_list($value)
            && array_filter($value, static fn (mixed $url): bool => ! is_string($url) || trim($url) === '') === [];
    }

    /**
     * Returns true if a text may be a URL with a login or a query, either of which may have a
     * password.
     */
    public static function isUrl(#[SensitiveParameter] mixed $value): bool
    {
        return (is_string($value) || $value instanceof Stringable) && preg_match('#://.*[@?]#s', (string) $value) === 1;
    }

    /**
     * Returns the fault in a value of a connection or of a result backend; null if there is none.
     * Shows no value.
     *
     * @param  array<array-key, mixed>  $config
     */
    public static function problem(#[SensitiveParameter] array $config): ?string
    {
        foreach ($config as $key => $value) {
            $isText = $value === null || is_string($value) || $value instanceof Stringable;
            $isFit = match (true) {
                $key === 'url' => $isText || self::isListOfText($value),
                in_array($key, self::TEXT, true) => $isText,
                in_array($key, self::LOGIN, true) => $isText || is_int($value) || $value === false,
                default => true,
            };
            if (! $isFit) {
                return sprintf('"%s" must be text, %s given', $key, get_debug_type($value));
            }
            if (! in_array($key, self::ANY, true) && self::isUrl($value)) {
                return sprintf('"%s" has a URL, which belongs in "url"', $key);
            }
        }

        $port = $config['port'] ?? null;
        $isNumber = ! is_bool($port)
            && filter_var($port, FILTER_VALIDATE_INT, ['options' => ['max_range' => 65535]]) !== false;
        if ($port !== null && $port !== '' && ! $isNumber) {
            $given = is_string($port) ? 'other text' : get_debug_type($port);

            return "\"port\" must be a number up to 65535, {$given} given";
        }

        return null;
    }
}
