<?php

declare(strict_types=1);

namespace CeleryBridge\Outcomes;

use CeleryBridge\Canvas\Chain;
use CeleryBridge\Exceptions\JobCannotRunOnCelery;
use CeleryBridge\TaskMessage;
use DateTimeImmutable;
use stdClass;

/**
 * The message in the payload of a tracked job, from which the task can be posted again.
 */
final class StoredMessage
{
    /** The key of a payload that has the message. */
    public const KEY = 'celery';

    /** Beside the message: the application reads the stored result, so it must stay. */
    public const KEEPS_RESULT = 'keeps_result';

    /** Beside the message: the ids of the tasks before it, and of those that begin after it. */
    public const BEFORE = 'before';

    public const AFTER = 'after';

    /** Beside the message: the task gets the result of the task before it, or a list of results. */
    public const TAKES = 'takes';

    public const ONE = 'result';

    public const LIST = 'list';

    /** The most tasks before another one whose results a retry reads. */
    public const MOST_BEFORE = 100;

    /** Beside the message: the steps of the chain behind the task. */
    public const REST = 'rest';

    /**
     * @param  array<string, mixed>  $payload  the whole payload, with objects as stdClass
     * @param  array<string, mixed>  $message
     */
    private function __construct(
        public readonly array $payload,
        private readonly array $message,
        public readonly ?string $connection,
    ) {
    }

    /**
     * @throws JobCannotRunOnCelery the payload is not that of a tracked job
     */
    public static function of(string $payload): self
    {
        // Objects stay objects: an empty one would become a list.
        $payload = get_object_vars((object) json_decode($payload));
        $message = get_object_vars((object) ($payload[self::KEY] ?? null));
        if (! is_string($message['task'] ?? null)) {
            throw JobCannotRunOnCelery::because('a raw payload', 'it is a job of Laravel\'s, which only PHP workers '
                .'understand. Post a task by its name: Celery::post($task, $args, $queue).');
        }

        return new self($payload, $message, isset($message['connection']) ? (string) $message['connection'] : null);
    }

    /** Returns a message that is a part of a payload. */
    public static function ofMessage(stdClass $message): self
    {
        return new self([], get_object_vars($message), null);
    }

    /**
     * Returns what a payload has under {@see StoredMessage::KEY}.
     *
     * @param  string|null  $connection  a name in config/celery.php; null: its default
     * @return array<string, mixed>
     */
    public static function toArray(TaskMessage $task, ?string $connection): array
    {
        return [
            'connection' => $connection,
            'task' => $task->name,
            'args' => $task->args,
            'queue' => $task->queue,
            'fields' => $task->fields,
        ];
    }

    /** Returns the steps of the chain behind the task, with fresh ids; null if it is not followed by any. */
    public function rest(): ?Chain
    {
        $rest = $this->message[self::REST] ?? null;
        $rest = $rest instanceof stdClass ? StoredCanvas::read($rest) : null;

        return $rest instanceof Chain ? $rest : null;
    }

    /** Returns the job of the payload; null if it has none, or if its class is gone. */
    public function job(): ?object
    {
        $data = (array) ($this->payload['data'] ?? []);

        return StoredCanvas::job(isset($data['command']) ? (string) $data['command'] : null);
    }

    /** Returns true if the application reads the stored result. */
    public function keepsResult(): bool
    {
        return ! empty($this->message[self::KEEPS_RESULT]);
    }

    /** Returns true if the task is part of a chain, group or chord. */
    public function isOfCanvas(): bool
    {
        return isset($this->message[self::AFTER]);
    }

    /**
     * Returns the ids of the tasks that must succeed before this one begins.
     *
     * @return list<string>
     */
    public function before(): array
    {
        return array_values(array_map(strval(...), (array) ($this->message[self::BEFORE] ?? [])));
    }

    /** Returns what the task gets of those before it: ONE, LIST or null. */
    public function takes(): ?string
    {
        return isset($this->message[self::TAKES]) ? (string) $this->message[self::TAKES] : null;
    }

    /**
     * Returns the ids of the tasks that begin when this one has succeeded.
     *
     * @return list<string>
     */
    public function after(): array
    {
        return array_values(array_map(strval(...), (array) ($this->message[self::AFTER] ?? [])));
    }

    /** Returns the task as it was to be posted. */
    public function task(string $id): TaskMessage
    {
        return $this->make($id, null, $this->fields());
    }

    /** Returns the task for another run, without the times that have passed. */
    public function again(string $id, ?string $queue): TaskMessage
    {
        $fields = array_diff_key($this->fields(), ['eta' => 0, 'expires' => 0]);
        if (isset($this->payload['retryUntil'])) {
            $fields['expires'] = new DateTimeImmutable('@'.(int) $this->payload['retryUntil']);
        }

        return $this->make($id, $queue, $fields);
    }

    /**
     * @param  array<string, mixed>  $fields
     */
    private function make(string $id, ?string $queue, array $fields): TaskMessage
    {
        $args = $this->message['args'] ?? [];

        return TaskMessage::make(
            $this->message['task'],
            is_object($args) ? get_object_vars($args) : (array) $args,
            $queue ?? $this->message['queue'] ?? null,
            ['id' => $id, 'after_commit' => false] + $fields,
        );
    }

    /**
     * @return array<string, mixed>
     */
    private function fields(): array
    {
        $fields = $this->message['fields'] ?? [];

        return is_object($fields) ? get_object_vars($fields) : (array) $fields;
    }
}
