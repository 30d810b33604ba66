<?php

namespace App\Services;

use Celery\Client;
use Illuminate\Contracts\Redis\Factory as Redis;

/**
 * Counts the tasks that are in the broker.
 */
class Backlog
{
    private Client $client;
    private Redis $redis;

    public function __construct(Client $client, Redis $redis)
    {
        $this->client = $client;
        $this->redis = $redis;
    }

    /**
     * Returns the numbers of tasks that wait in a queue, and that workers hold, at one moment.
     *
     * A RabbitMQ tells its clients only how many wait: the second number is then null.
     *
     * @return array{int, ?int}
     */
    public function count(string $queue): array
    {
        if (config('celery.connector') !== 'redis') {
            return [$this->client->queueLengths($queue)[$queue], null];
        }

        return $this->redis->connection()->transaction(static function ($redis) use ($queue) {
            $redis->llen($queue);
            $redis->hlen('unacked');
        });
    }
}
