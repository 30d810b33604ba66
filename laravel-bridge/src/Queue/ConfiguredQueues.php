<?php

declare(strict_types=1);

namespace CeleryBridge\Queue;

use CeleryBridge\Config\ConnectionSettings;
use Illuminate\Contracts\Config\Repository;

/**
 * Lists the connections and the queues that config/celery.php and config/queue.php name.
 */
final class ConfiguredQueues
{
    /**
     * Returns the queues of one connection.
     *
     * @return list<string>
     */
    public static function of(ConnectionSettings $settings, Repository $config): array
    {
        $queues = [$settings->queue];
        foreach ((array) $config->get('queue.connections', []) as $connection) {
            $isOurs = is_array($connection) && ($connection['driver'] ?? null) === 'celery'
                && ($connection['connection'] ?? ConnectionSettings::defaultName($config)) === $settings->name;
            if ($isOurs && ! empty($connection['queue'])) {
                $queues[] = (string) $connection['queue'];
            }
        }

        return array_values(array_unique($queues));
    }

    /**
     * Returns the names of the connections in config/celery.php.
     *
     * @return list<string>
     */
    public static function connections(Repository $config): array
    {
        $names = array_map(strval(...), array_keys((array) $config->get('celery.connections', [])));

        return $names === [] ? [ConnectionSettings::defaultName($config)] : $names;
    }
}
