<?php

declare(strict_types=1);

namespace CeleryBridge\Queue;

use CeleryBridge\Config\ConnectionSettings;
use CeleryBridge\Config\PriorityLists;
use CeleryBridge\Exceptions\InvalidConfiguration;
use Illuminate\Container\Container;
use Illuminate\Redis\Connections\Connection;
use Illuminate\Redis\RedisManager;

/**
 * Reads the lengths of the broker's queues on Redis, and empties them. Posts nothing.
 *
 * It uses Laravel's own Redis component over phpredis or predis, with a separate connection: the
 * application's connection adds its prefix to every key, which Celery's keys do not have.
 */
final class RedisQueues
{
    /**
     * The seconds for one read if the connection sets no timeout, as in the extension's
     * celery.command_timeout.
     */
    private const TIMEOUT = 5.0;

    private ?Connection $connection = null;

    public function __construct(private readonly ConnectionSettings $settings)
    {
    }

    public function size(string $queue): int
    {
        $size = 0;
        foreach ($this->lists($queue) as $list) {
            $size += (int) $this->connection()->command('llen', [$list]);
        }

        return $size;
    }

    /**
     * Returns the number of tasks that workers hold and have not acknowledged, of all queues.
     */
    public function heldByWorkers(): int
    {
        return (int) $this->connection()->command('zcard', [$this->prefix().'unacked_index']);
    }

    /**
     * Empties a queue; returns the number of deleted messages.
     */
    public function clear(string $queue): int
    {
        $script = <<<'LUA'
            local deleted = 0
            for _, list in ipairs(KEYS) do
                deleted = deleted + redis.call('LLEN', list)
                redis.call('DEL', list)
            end
            return deleted
            LUA;
        $lists = $this->lists($queue);

        return (int) $this->connection()->eval($script, count($lists), ...$lists);
    }

    /**
     * @return list<string>
     */
    private function lists(string $queue): array
    {
        return PriorityLists::of($this->settings->broker->priorities, $this->prefix().$queue);
    }

    private function prefix(): string
    {
        return (string) ini_get('celery.key_prefix');
    }

    private function connection(): Connection
    {
        if ($this->connection !== null) {
            return $this->connection;
        }

        $driver = match (true) {
            extension_loaded('redis') => 'phpredis',
            class_exists(\Predis\Client::class) => 'predis',
            default => throw InvalidConfiguration::in(
                $this->settings->name,
                'the size of a queue can only be read with the PHP extension "redis" or the package predis/predis',
            ),
        };

        $config = $this->settings->broker->toLaravelRedis($this->settings->timeout ?? self::TIMEOUT);
        if ($driver === 'phpredis' && isset($config['username'])) {
            // Laravel 8 passes on only the password.
            $config['password'] = [$config['username'], $config['password'] ?? ''];
            unset($config['username']);
        }

        $manager = new RedisManager(Container::getInstance(), $driver, ['celery' => $config]);

        return $this->connection = $manager->connection('celery');
    }
}
