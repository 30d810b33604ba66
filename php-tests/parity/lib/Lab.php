<?php

declare(strict_types=1);

namespace CeleryParity;

/** The tools of a case on Redis: also a server to prepare and inspect, which is empty at first. */
final class Lab extends Tools
{
    public function __construct(public readonly PrivateRedis $redis)
    {
        parent::__construct();
        $redis->command('FLUSHALL');
    }

    protected function arguments(): array
    {
        return [
            'host' => '127.0.0.1',
            'login' => null,
            'password' => null,
            'vhost' => 0,
            'exchange' => 'celery',
            'binding' => 'celery',
            'port' => $this->redis->port,
            'connector' => 'redis',
            'persistent_messages' => false,
            'result_expire' => 0,
            'ssl_options' => [],
        ];
    }

    /** Returns the connection as an array, for CeleryAdvanced, BuildConnection and AsyncResult. */
    public function details(array $changes = []): array
    {
        return array_replace($this->arguments(), ['login' => '', 'password' => ''], $changes);
    }

    /** Stores a result like Celery's Redis backend; a string is stored unchanged. */
    public function store(string $id, array|string $document): void
    {
        $text = is_string($document) ? $document : json_encode(
            $document + ['traceback' => null, 'children' => [], 'date_done' => '2026-11-22T07:40:20.996002+00:00', 'task_id' => $id],
            JSON_THROW_ON_ERROR | JSON_PRESERVE_ZERO_FRACTION,
        );
        $this->redis->command('SET', "celery-task-meta-$id", $text);
    }

    public function stored(string $id): bool
    {
        return $this->redis->command('EXISTS', "celery-task-meta-$id") === 1;
    }

    public function envelopes(): array
    {
        $queues = [];
        $names = $this->redis->command('KEYS', '*');
        sort($names);
        foreach ($names as $name) {
            if ($this->redis->command('TYPE', $name) === 'list') {
                foreach (array_reverse($this->redis->command('LRANGE', $name, '0', '-1')) as $raw) {
                    $queues[$name][] = json_decode($raw, flags: JSON_THROW_ON_ERROR);
                }
            }
        }

        return $queues;
    }
}
