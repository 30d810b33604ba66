<?php

declare(strict_types=1);

namespace CeleryBridge\Transport;

use CeleryBridge\Exceptions\ExtensionNotLoaded;
use Closure;

/**
 * The PHP extension: whether it is loaded, and its settings during a call.
 */
final class Extension
{
    public const NAME = 'celery';

    public static function loaded(): bool
    {
        return extension_loaded(self::NAME);
    }

    public static function version(): ?string
    {
        return phpversion(self::NAME) ?: null;
    }

    /**
     * @throws ExtensionNotLoaded
     */
    public static function ensureLoaded(): void
    {
        if (! self::loaded()) {
            throw ExtensionNotLoaded::make();
        }
    }

    /**
     * Runs a call with other INI settings, and restores them.
     *
     * @template T
     *
     * @param  array<string, string|float|int|null>  $settings  null leaves a setting as it is
     * @param  Closure(): T  $call
     * @return T
     */
    public static function with(array $settings, Closure $call): mixed
    {
        $before = [];

        try {
            foreach ($settings as $name => $value) {
                if ($value !== null) {
                    $before[$name] = ini_set($name, (string) $value);
                }
            }

            return $call();
        } finally {
            foreach ($before as $name => $value) {
                if ($value !== false) {
                    ini_set($name, $value);
                }
            }
        }
    }
}
