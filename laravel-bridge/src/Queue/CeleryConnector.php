<?php

declare(strict_types=1);

namespace CeleryBridge\Queue;

use CeleryBridge\Config\KnownKeys;
use CeleryBridge\Contracts\Factory;
use CeleryBridge\Exceptions\InvalidConfiguration;
use Illuminate\Contracts\Container\Container;
use Illuminate\Queue\Connectors\ConnectorInterface;

/**
 * Makes the queue connection `'driver' => 'celery'` of config/queue.php:
 *
 *     'celery' => [
 *         'driver' => 'celery',
 *         'connection' => 'default',   // of config/celery.php
 *         'queue' => 'celery',         // null: as the Celery connection says
 *         'after_commit' => true,      // null: as the Celery connection says
 *         'call_failed' => true,       // call failed() if a post fails; false in a failover
 *     ],
 */
final class CeleryConnector implements ConnectorInterface
{
    /**
     * @param  array<string, mixed>  $config
     */
    public function connect(array $config): CeleryQueue
    {
        $problem = KnownKeys::problemOfQueueConnection(array_diff_key($config, [InheritedQueues::MARK => null]));
        if ($problem !== null) {
            throw InvalidConfiguration::ofQueueConnection($problem);
        }

        return new CeleryQueue(
            static fn (Container $container): Factory => $container->make(Factory::class),
            $config['connection'] ?? null,
            empty($config[InheritedQueues::MARK]) ? $config['queue'] ?? null : null,
            $config['after_commit'] ?? null,
            (bool) ($config['call_failed'] ?? true),
        );
    }
}
