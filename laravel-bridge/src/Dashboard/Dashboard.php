<?php

declare(strict_types=1);

namespace CeleryBridge\Dashboard;

use Illuminate\Contracts\Config\Repository;

/**
 * The settings of the dashboard: the key `dashboard` of config/celery.php.
 */
final class Dashboard
{
    /** The gate that decides outside the environment "local". */
    public const GATE = 'viewCelery';

    private const PATH = 'celery';

    public static function isEnabled(Repository $config): bool
    {
        return filter_var($config->get('celery.dashboard.enabled'), FILTER_VALIDATE_BOOL);
    }

    /**
     * Returns the attributes of the group of routes.
     *
     * @return array<string, mixed>
     */
    public static function group(Repository $config): array
    {
        $path = trim((string) $config->get('celery.dashboard.path'), '/');

        return array_filter([
            'domain' => $config->get('celery.dashboard.domain'),
            'prefix' => $path === '' ? self::PATH : $path,
            'as' => 'celery.',
            'middleware' => [...(array) $config->get('celery.dashboard.middleware', ['web']), Authorize::class],
        ]);
    }
}
