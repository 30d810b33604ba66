<?php

declare(strict_types=1);

namespace CeleryParity;

/**
 * The tools of a case: clients of the loaded library, a Redis to prepare and inspect, and answers.
 *
 * One Lab serves one case. It starts with an empty Redis.
 */
final class Lab
{
    /** An id that a library generated: celery-php's form or a UUID. */
    private const MADE_ID = '/^(php_[0-9a-f.]+|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$/';

    public readonly Observation $observation;

    public function __construct(public readonly PrivateRedis $redis)
    {
        $redis->command('FLUSHALL');
        $this->observation = new Observation();
    }

    /** Returns a client on the private Redis; $arguments replaces constructor arguments by name. */
    public function client(array $arguments = []): \Celery
    {
        return new \Celery(...array_values(array_replace([
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
        ], $arguments)));
    }

    /** Returns the connection as an array, for CeleryAdvanced, BuildConnection and AsyncResult. */
    public function details(array $changes = []): array
    {
        return array_replace([
            'host' => '127.0.0.1',
            'login' => '',
            'password' => '',
            'vhost' => 0,
            'exchange' => 'celery',
            'binding' => 'celery',
            'port' => $this->redis->port,
            'connector' => 'redis',
            'persistent_messages' => false,
            'result_expire' => 0,
            'ssl_options' => [],
        ], $changes);
    }

    /** Posts `proj.add` with [2, 3] and returns its result, whose id is <id> in the transcript. */
    public function result(?\CeleryAbstract $client = null): \AsyncResult
    {
        return $this->known(($client ?? $this->client())->PostTask('proj.add', [2, 3]));
    }

    public function known(\AsyncResult $result, string $name = '<id>'): \AsyncResult
    {
        $this->observation->name($result->getId(), $name);

        return $result;
    }

    /** @see Observation::answer() */
    public function answer(callable $call, array $facts = []): array
    {
        return $this->observation->answer($call, $facts);
    }

    /** Returns the answer of one post and what it leaves in Redis. */
    public function post(callable $post): array
    {
        $answer = $this->answer(function () use ($post) {
            $result = $post();

            return $result instanceof \AsyncResult ? $this->known($result) : $result;
        });

        return ['answer' => $answer, 'posted' => $this->posted()];
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

    /**
     * Returns every waiting message, oldest first, as the task it asks for, whatever its protocol.
     */
    public function posted(): array
    {
        $tasks = [];
        foreach ($this->envelopes() as $queue => $envelopes) {
            foreach ($envelopes as $envelope) {
                $task = Message::task($envelope);
                if (is_string($task['id'] ?? null) && preg_match(self::MADE_ID, $task['id']) === 1) {
                    $this->observation->name($task['id'], '<id>');
                }
                $tasks[] = array_map($this->observation->value(...), ['queue' => $queue] + $task);
            }
        }

        return $tasks;
    }

    /** @return array<string, list<\stdClass>> */
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
