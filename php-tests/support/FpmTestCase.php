<?php

namespace CeleryTests;

use PHPUnit\Framework\TestCase;

/**
 * Pages under PHP-FPM. They connect to Redis as the user `page`, so that a test can count their
 * connections. The result of the task `known` is 5.
 */
abstract class FpmTestCase extends TestCase
{
    protected \Redis $redis;

    protected function setUp(): void
    {
        $this->redis = Programs::redis();
        $this->redis->flushAll();
        self::prepare($this->redis);
    }

    /**
     * Prepares a Redis for the pages.
     */
    protected static function prepare(\Redis $redis): void
    {
        $redis->rawCommand('ACL', 'SETUSER', 'page', 'on', '>x', '~*', '&*', '+@all');
        self::store($redis, 'known', 5);
    }

    /**
     * Stores a result as a worker would.
     */
    protected static function store(\Redis $redis, string $id, mixed $result, string $prefix = ''): void
    {
        $document = json_encode([
            'status' => 'SUCCESS', 'result' => $result, 'traceback' => null, 'children' => [], 'task_id' => $id,
            'date_done' => '2026-11-22T07:44:20.001849+00:00',
        ]);
        $redis->set("{$prefix}celery-task-meta-$id", $document);
        $redis->publish("{$prefix}celery-task-meta-$id", $document);
    }

    /**
     * Waits until a page listens for a result.
     */
    protected function waitForReader(string $id): void
    {
        $channel = "celery-task-meta-$id";
        Wait::until("a reader of $id", 60, fn () => $this->redis->pubsub('NUMSUB', [$channel])[$channel] > 0);
    }

    /**
     * @param array<string, array<string, string|int>> $pools
     * @param array<string, string> $environment
     */
    protected static function fpm(array $pools = ['www' => []], array $environment = []): Fpm
    {
        return new Fpm(Programs::root() . '/php-tests/fpm/pages', $pools, $environment);
    }

    /**
     * Returns the ids of the pages' connections. A connection that is opened again has a new id.
     *
     * @return list<int>
     */
    protected static function connections(\Redis $redis): array
    {
        $pages = array_filter($redis->client('LIST'), fn ($client) => $client['user'] === 'page');
        $ids = array_map('intval', array_column($pages, 'id'));
        // Redis lists them in no defined order.
        sort($ids);

        return $ids;
    }

    /**
     * Returns the ids of the tasks in a queue, the oldest first.
     *
     * @return list<string>
     */
    protected function queued(string $queue = 'celery'): array
    {
        $ids = array_map(fn ($message) => json_decode($message)->headers->id, $this->redis->lRange($queue, 0, -1));

        return array_reverse($ids);
    }
}
