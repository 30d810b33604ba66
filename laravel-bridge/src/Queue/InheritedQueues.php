<?php

declare(strict_types=1);

namespace CeleryBridge\Queue;

use CeleryBridge\Config\ConnectionSettings;
use CeleryBridge\Exceptions\InvalidConfiguration;
use Illuminate\Contracts\Config\Repository;

/**
 * Writes the queues of Celery's connections into config/queue.php, for queue connections that name
 * none. `queue:clear` and `queue:work` read the name from there, and would use "default".
 */
final class InheritedQueues
{
    /**
     * Marks a name that was filled in. The queue itself does not use that name, because the Celery
     * connection may be changed at run time.
     */
    public const MARK = 'queue_is_inherited';

    public static function fillIn(Repository $config): void
    {
        foreach ((array) $config->get('queue.connections', []) as $name => $connection) {
            if (! is_array($connection) || ($connection['driver'] ?? null) !== 'celery') {
                continue;
            }
            if (isset($connection['queue']) && empty($connection[self::MARK])) {
                continue;
            }

            try {
                $queue = ConnectionSettings::fromRepository($config, $connection['connection'] ?? null)->queue;
            } catch (InvalidConfiguration) {
                // The first use of the connection says what is wrong.
                continue;
            }
            $config->set("queue.connections.{$name}", ['queue' => $queue, self::MARK => true] + $connection);
        }
    }
}
