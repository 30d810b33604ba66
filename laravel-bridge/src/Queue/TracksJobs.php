<?php

declare(strict_types=1);

namespace CeleryBridge\Queue;

use CeleryBridge\Canvas\Chain;
use CeleryBridge\Context\LaravelHeader;
use CeleryBridge\Exceptions\JobCannotRunOnCelery;
use CeleryBridge\Exceptions\ResultTimedOut;
use CeleryBridge\Outcomes\Outbox;
use CeleryBridge\Outcomes\StoredMessage;
use CeleryBridge\Outcomes\TrackedJobs;
use CeleryBridge\TaskMessage;
use Illuminate\Support\Str;
use Throwable;

/**
 * Writes the rows by which `celery:listen` knows the jobs of this connection, and sends a failed job
 * again from its row.
 */
trait TracksJobs
{
    /**
     * Posts the task of a payload of `failed_jobs` once more, with a fresh id. `queue:retry` calls it.
     *
     * @param  mixed  $payload
     * @param  mixed  $queue
     * @param  array<string, mixed>  $options
     * @return string the task's id
     *
     * @throws JobCannotRunOnCelery the payload is not that of a tracked job
     */
    public function pushRaw($payload, $queue = null, array $options = [])
    {
        $message = StoredMessage::of((string) $payload);
        $id = (string) Str::uuid();
        $task = $this->withResultsBefore($message, $message->again($id, TaskMessage::queueName($queue)));
        $rest = $message->rest();
        if ($rest !== null) {
            $this->resume($message, $task, $rest);

            return $id;
        }

        $outbox = $this->outbox();
        if ($outbox->isOn()) {
            $task = $task->once();
        }
        $payload = ['uuid' => $id, StoredMessage::KEY => StoredMessage::toArray($task, $message->connection)] + $message->payload;
        $outbox->write([$this->row($task, $message->connection, $payload)]);
        $outbox->post([$task], fn () => $this->factory()->connection($message->connection)->postMany([$task]));

        return $id;
    }

    /**
     * Returns a task of a canvas with the results that its worker gave it, which the message lacks.
     *
     * @throws JobCannotRunOnCelery they are not to be had
     */
    private function withResultsBefore(StoredMessage $message, TaskMessage $task): TaskMessage
    {
        if ($message->takes() === null) {
            return $task;
        }
        $before = $message->before();
        $cannot = static fn (string $why): JobCannotRunOnCelery => JobCannotRunOnCelery::because("a retry of {$task->name}", $why);
        if (! array_is_list($task->args)) {
            throw $cannot('it has keyword arguments beside the result of the task before it. Post its chain again.');
        }
        if (count($before) > StoredMessage::MOST_BEFORE) {
            throw $cannot('it gets more than '.StoredMessage::MOST_BEFORE.' results of a group. Post its chord again.');
        }
        $client = $this->factory()->connection($message->connection);
        try {
            $values = array_map(static fn (string $id): mixed => $client->result($id)->get(0.0), $before);
        } catch (ResultTimedOut) {
            throw $cannot('it gets the result of the task before it, which is not stored any more. Post its chain again.');
        }

        return $task->withFirstArgument($message->takes() === StoredMessage::LIST ? $values : $values[0] ?? null);
    }

    /** Posts a task of a chain once more, with the steps behind it. */
    private function resume(StoredMessage $message, TaskMessage $task, Chain $rest): void
    {
        $job = $message->job();
        $task = $job === null ? $task->tracked() : $task->withJob($job);
        $chain = (new Chain([$task, ...$rest->steps]))->withErrbacks(...$rest->errbacks());
        $this->factory()->connection($message->connection)->postCanvas($chain, false);
    }

    /**
     * Returns the row of a task that this queue does not post: of a canvas, or tracked on request.
     *
     * @param  array<string, mixed>  $more  what the payload has beside the message
     * @return array<string, mixed>
     */
    public function rowOf(TaskMessage $task, string $connection, array $more): array
    {
        $payload = $task->job !== null
            ? $this->payloadOf(new Posting($task->job, $this->settingsOf($task->job), $task, null))
            : ['uuid' => $task->id, 'displayName' => $task->name, 'job' => $task->name, 'data' => ['commandName' => $task->name]]
                + (array) ($task->fields[LaravelHeader::NAME] ?? []);
        $payload[StoredMessage::KEY] = $more + StoredMessage::toArray($task, $connection);

        return $this->row($task, $connection, $payload);
    }

    /**
     * @param  array<string, mixed>  $payload
     * @return array<string, mixed>
     */
    private function row(TaskMessage $task, ?string $connection, array $payload): array
    {
        $settings = $this->factory()->settings($connection);
        $text = json_encode($payload);

        return [
            'id' => $task->id,
            'celery_connection' => $settings->name,
            'queue_connection' => (string) $this->connectionName,
            'queue' => $task->queue ?? $settings->queue,
            'task' => $task->name,
            'payload' => (string) ($text ?: json_encode($payload, JSON_INVALID_UTF8_SUBSTITUTE | JSON_PARTIAL_OUTPUT_ON_ERROR)),
            // A row that does not hold the exact message is not posted by a listener.
            'state' => $text === false ? 'PENDING' : TrackedJobs::POSTING,
            'created_at' => microtime(true),
        ];
    }

    /**
     * Returns a payload as Laravel's own queues write it, with the message beside it.
     *
     * @return array<string, mixed>
     */
    private function payloadOf(Posting $posting): array
    {
        [$job, $task] = [$posting->job, $posting->task];
        $command = self::serialized($job);
        $payload = ['job' => $command === null ? $task->name : 'Illuminate\Queue\CallQueuedHandler@call']
            + $this->payload($job, $posting->settings, $task->id);
        $payload['data'] = ['commandName' => $job::class] + ($command === null ? [] : ['command' => $command]);

        return $payload + [StoredMessage::KEY => StoredMessage::toArray($task, $this->connectionFor($job))]
            + (array) ($task->fields[LaravelHeader::NAME] ?? []);
    }

    /**
     * Returns the job as Laravel's workers unserialize it; null if that is impossible. Such a job is
     * sent and tracked nevertheless, but its `failed()` cannot be called.
     */
    public static function serialized(object $job): ?string
    {
        try {
            $text = serialize(clone $job);
        } catch (Throwable) {
            return null;
        }

        return json_encode($text) === false ? null : $text;
    }

    private function outbox(): Outbox
    {
        return $this->container->make(Outbox::class);
    }
}
