<?php

declare(strict_types=1);

namespace CeleryParity;

/**
 * The tools of a case, whatever the broker: clients of the loaded library, and answers.
 *
 * An object serves one case.
 */
abstract class Tools
{
    /** An id that a library generated: celery-php's form or a UUID. */
    private const MADE_ID = '/^(php_[0-9a-f.]+|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$/';

    public readonly Observation $observation;

    public function __construct()
    {
        $this->observation = new Observation();
    }

    /**
     * Returns the arguments of Celery::__construct, by name.
     *
     * @return array<string, mixed>
     */
    abstract protected function arguments(): array;

    /**
     * Returns the waiting messages of each queue, the oldest first.
     *
     * @return array<string, list<\stdClass>>
     */
    abstract public function envelopes(): array;

    /** Returns a client on the private broker; $changes replaces constructor arguments by name. */
    public function client(array $changes = []): \Celery
    {
        return new \Celery(...array_values(array_replace($this->arguments(), $changes)));
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

    /** Returns the answer of one post and what it leaves in the broker. */
    public function post(callable $post): array
    {
        $answer = $this->answer(function () use ($post) {
            $result = $post();

            return $result instanceof \AsyncResult ? $this->known($result) : $result;
        });

        return ['answer' => $answer, 'posted' => $this->posted()];
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
}
