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
 * Looks into the broker's queues on Redis: their lengths, and emptying them. Posts nothing.
 *
 * It uses Laravel's own Redis component over phpredis or predis, with a connection of its own: that of the application
 * puts its prefix before every key, and Celery's keys have none of Laravel's.
 */
final class RedisQueues
{
    /** Seconds for one look when the connection sets no timeout, as the extension's celery.command_timeout. */
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
     * Tasks taken by workers and not yet acknowledged, of all queues.
     */
    public function heldByWorkers(): int
    {
        return (int) $this->connection()->command('zcard', [$this->prefix().'unacked_index']);
    }

    /**
     * Empty a queue; gives the number of messages deleted.
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
            // Laravel 8 hands on the password only.
            $config['password'] = [$config['username'], $config['password'] ?? ''];
            unset($config['username']);
        }

        $manager = new RedisManager(Container::getInstance(), $driver, ['celery' => $config]);

        return $this->connection = $manager->connection('celery');
    }
}
