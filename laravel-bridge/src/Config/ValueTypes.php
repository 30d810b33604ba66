<?php

declare(strict_types=1);

namespace CeleryBridge\Config;

use SensitiveParameter;
use Stringable;

/**
 * The types that values in config/celery.php may have. Any other is refused by name: passed over, a list in the place of a URL
 * would send tasks to the default address.
 */
final class ValueTypes
{
    private const TEXT = ['url', 'redis', 'connector', 'scheme', 'host', 'path', 'queue', 'exchange'];

    /** Text, or a number that was written without quotes. False stands for none, as in celery-php. */
    private const LOGIN = ['username', 'user', 'login', 'password'];

    /**
     * What is wrong with a value of a connection or of a result backend; null if nothing is. Shows no value.
     *
     * @param  array<array-key, mixed>  $config
     */
    public static function problem(#[SensitiveParameter] array $config): ?string
    {
        foreach (array_intersect_key($config, array_flip(self::TEXT)) as $key => $value) {
            if ($value !== null && ! is_string($value) && ! $value instanceof Stringable) {
                return sprintf('"%s" must be text, %s given', $key, get_debug_type($value));
            }
        }
        foreach (array_intersect_key($config, array_flip(self::LOGIN)) as $key => $value) {
            $isText = is_string($value) || is_int($value) || $value instanceof Stringable;
            if ($value !== null && $value !== false && ! $isText) {
                return sprintf('"%s" must be text, %s given', $key, get_debug_type($value));
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
