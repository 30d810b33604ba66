<?php

declare(strict_types=1);

namespace CeleryBridge\Queue;

use CeleryBridge\Config\ConnectionSettings;
use CeleryBridge\Context\LaravelHeader;
use CeleryBridge\Contracts\Factory;
use CeleryBridge\Exceptions\ArgumentCannotBeSent;
use CeleryBridge\Exceptions\JobCannotRunOnCelery;
use CeleryBridge\Exceptions\ServedByCelery;
use CeleryBridge\TaskMessage;
use Closure;
use Illuminate\Contracts\Queue\ClearableQueue;
use Illuminate\Contracts\Queue\Queue as QueueContract;
use Illuminate\Contracts\Queue\ShouldBeEncrypted;
use Illuminate\Contracts\Queue\ShouldBeUnique;
use Illuminate\Queue\Attributes\Timeout;
use Illuminate\Queue\Attributes\Tries;
use Illuminate\Queue\Attributes\UniqueFor;
use Illuminate\Queue\Queue;
use Illuminate\Support\Str;
use Throwable;

/**
 * Laravel's queue interface for Celery: a job that names a Celery task is posted as that task.
 *
 * A job is never serialized and never run here. PHP cannot take tasks from Celery's queues, so
 * `pop()` throws. `push()` throws for a job that no Celery worker could run.
 */
final class CeleryQueue extends Queue implements QueueContract, ClearableQueue
{
    /**
     * @param  Closure(): Factory  $manager  called at each use, so that a later fake takes
     * effect
     * @param  string|null  $celeryConnection  a name in config/celery.php; null: its default
     * @param  string|null  $defaultQueue  null: as the Celery connection says
     * @param  bool|null  $afterCommit  null: as the Celery connection says
     * @param  bool  $callFailed  true to call `failed()` of a job that cannot be posted
     */
    public function __construct(
        private readonly Closure $manager,
        private readonly ?string $celeryConnection = null,
        private readonly ?string $defaultQueue = null,
        private readonly ?bool $afterCommit = null,
        private readonly bool $callFailed = true,
    ) {
    }

    /**
     * @param  mixed  $job
     * @param  mixed  $data
     * @param  mixed  $queue
     * @return string the task's id
     */
    public function push($job, $data = '', $queue = null)
    {
        return $this->enqueue($job, $queue, null);
    }

    /**
     * @param  mixed  $delay  seconds, an interval, or a time: the task's ETA
     * @param  mixed  $job
     * @param  mixed  $data
     * @param  mixed  $queue
     * @return string the task's id
     */
    public function later($delay, $job, $data = '', $queue = null)
    {
        return $this->enqueue($job, $queue, $delay);
    }

    /**
     * Posts the jobs of one queue in one round trip. All jobs are checked before the first post, so
     * a refused job cannot leave the others half posted.
     *
     * @param  mixed  $jobs
     * @param  mixed  $data
     * @param  mixed  $queue
     * @return void
     */
    public function bulk($jobs, $data = '', $queue = null)
    {
        $postings = [];
        foreach ((array) $jobs as $job) {
            $postings[] = $this->prepare($job, $queue, $job->delay ?? null);
        }

        $this->send($postings);
    }

    /**
     * @param  mixed  $payload
     * @param  mixed  $queue
     * @param  array<string, mixed>  $options
     * @return never
     */
    public function pushRaw($payload, $queue = null, array $options = [])
    {
        throw JobCannotRunOnCelery::because('a raw payload', 'it is a job of Laravel\'s, which only PHP workers '
            .'understand. Post a task by its name: Celery::post($task, $args, $queue).');
    }

    /**
     * @param  mixed  $queue
     * @return never
     */
    public function pop($queue = null)
    {
        throw new ServedByCelery($this->howToServe($queue));
    }

    /**
     * Returns how tasks of this connection are taken, for a person who starts a PHP worker for it.
     */
    public function howToServe(mixed $queue = null): string
    {
        return sprintf(
            'The queue connection [%s] can only be posted to: Celery workers take its tasks, not `queue:work`. '
            .'Start one with `celery-worker -Q %s`, or in Python with `celery -A proj worker -Q %2$s`.',
            $this->connectionName,
            $this->queueFor($queue),
        );
    }

    /**
     * Returns the number of messages waiting in the queue.
     *
     * @param  mixed  $queue
     * @return int
     */
    public function size($queue = null)
    {
        return $this->redis()->size($this->queueFor($queue));
    }

    /**
     * @param  mixed  $queue
     * @return int
     */
    public function pendingSize($queue = null)
    {
        return $this->size($queue);
    }

    /**
     * Returns 0 always: tasks with an ETA wait in the queue or at a worker, among the others.
     *
     * @param  mixed  $queue
     * @return int
     */
    public function delayedSize($queue = null)
    {
        return 0;
    }

    /**
     * Returns the number of tasks that workers hold, for all queues of the broker: Celery does not
     * separate them by queue.
     *
     * @param  mixed  $queue
     * @return int
     */
    public function reservedSize($queue = null)
    {
        return $this->redis()->heldByWorkers();
    }

    /**
     * Returns null always: a Celery message does not contain the time of its post.
     *
     * @param  mixed  $queue
     * @return int|null
     */
    public function creationTimeOfOldestPendingJob($queue = null)
    {
        return null;
    }

    /**
     * Deletes the messages waiting in the queue; tasks at workers stay.
     *
     * @param  mixed  $queue
     * @return int the number of deleted messages
     */
    public function clear($queue)
    {
        return $this->redis()->clear($this->queueFor($queue));
    }

    /**
     * Returns false: a post that must wait for a commit has waited before Laravel's part begins.
     *
     * @param  mixed  $job
     * @return bool
     */
    protected function shouldDispatchAfterCommit($job)
    {
        return false;
    }

    private function waitsForCommit(object $job): bool
    {
        $this->dispatchAfterCommit = $this->afterCommit ?? $this->settings($job)->afterCommit;

        return (bool) parent::shouldDispatchAfterCommit($job);
    }

    /**
     * @return string the task's id, which is known before a post that waits for a commit
     */
    private function enqueue(mixed $job, mixed $queue, mixed $delay): string
    {
        $posting = $this->prepare($job, $queue, $delay);
        $this->send([$posting]);

        return $posting->task->id;
    }

    /**
     * Posts the jobs: each after the commit or at once, as it says.
     *
     * @param  list<Posting>  $postings
     */
    private function send(array $postings): void
    {
        $now = $later = [];
        foreach ($postings as $posting) {
            if ($this->waitsForCommit($posting->job)) {
                $later[] = $posting;
            } else {
                $now[] = $posting;
            }
        }

        $this->postAll($now);
        if ($later !== []) {
            ($this->manager)()->afterCommit()->run(
                array_map(static fn (Posting $posting): string => $posting->task->id, $later),
                fn () => $this->postAll($later),
                rolledBack: function () use ($later): void {
                    foreach ($later as $posting) {
                        UniqueLocks::release($this->container, $posting->job);
                    }
                },
            );
        }
    }

    /**
     * @throws JobCannotRunOnCelery
     * @throws ArgumentCannotBeSent
     */
    private function prepare(mixed $job, mixed $queue, mixed $delay): Posting
    {
        try {
            $this->refuseUnlessMapped($job);

            $task = $this->toTask($job, TaskMessage::queueName($queue), $delay);

            return new Posting($job, LaravelHeader::addContext($this->container, $task), $delay);
        } catch (Throwable $e) {
            UniqueLocks::release($this->container, $job);

            throw $e;
        }
    }

    /**
     * Posts the jobs that are due now, with a round trip for each queue. After a failure it posts
     * nothing more.
     *
     * @param  list<Posting>  $postings
     */
    private function postAll(array $postings): void
    {
        $groups = [];
        foreach ($postings as $posting) {
            $groups[$this->connectionFor($posting->job)."\0".$posting->task->queue][] = $posting;
        }

        while (($group = array_shift($groups)) !== null) {
            try {
                if (count($group) === 1) {
                    $this->queued($group[0], fn () => $this->post($group));

                    continue;
                }
                $this->post($group);
            } catch (Throwable $e) {
                foreach (array_merge(...array_values($groups)) as $posting) {
                    $this->failed($posting, $e);
                }

                throw $e;
            }
            foreach ($group as $posting) {
                $this->queued($posting);
            }
        }
    }

    /**
     * Posts a job, and raises Laravel's events before and after it. Their constructors differ
     * between versions of Laravel, so that only `enqueueUsing()` can call them.
     *
     * @param  (Closure(): mixed)|null  $post  null: the job is posted already
     */
    private function queued(Posting $posting, ?Closure $post = null): void
    {
        [$job, $task] = [$posting->job, $posting->task];

        // enqueueUsing() only passes this description to the event JobQueued and its listeners.
        $description = json_encode([
            'uuid' => $task->id,
            'displayName' => $this->getDisplayName($job),
            'job' => $task->name,
            'maxTries' => $this->setting($job, 'tries', Tries::class),
            'timeout' => $this->setting($job, 'timeout', Timeout::class),
            'data' => ['queue' => $task->queue],
        ], JSON_UNESCAPED_UNICODE | JSON_PARTIAL_OUTPUT_ON_ERROR);

        $this->enqueueUsing($job, $description, $task->queue, $posting->delay, static function () use ($post, $task): string {
            if ($post !== null) {
                $post();
            }

            return $task->id;
        });
    }

    /**
     * @param  non-empty-list<Posting>  $postings  of one connection and queue
     */
    private function post(array $postings): void
    {
        $client = ($this->manager)()->connection($this->connectionFor($postings[0]->job));

        try {
            $client->postMany(array_map(static fn (Posting $posting): TaskMessage => $posting->task, $postings));
        } catch (Throwable $e) {
            // Some exceptions name the tasks that were not confirmed; the others were posted.
            $unconfirmed = method_exists($e, 'taskIds') ? $e->taskIds() : [];
            foreach ($postings as $posting) {
                if ($unconfirmed !== [] && ! in_array($posting->task->id, $unconfirmed, true)) {
                    $this->queued($posting);
                } else {
                    $this->failed($posting, $e);
                }
            }

            throw $e;
        }
    }

    /**
     * Releases the job's lock and calls its `failed()`, because no program will retry it. It does
     * neither if another connection takes over.
     */
    private function failed(Posting $posting, Throwable $reason): void
    {
        if ($this->callFailed) {
            UniqueLocks::release($this->container, $posting->job);
            FailedCallback::call($this->container, $posting->job, $reason);
        }
    }

    private function toTask(object $job, ?string $queue, mixed $delay): TaskMessage
    {
        $headers = array_filter([
            'tries' => $this->setting($job, 'tries', Tries::class),
            'backoff' => $this->getJobBackoff($job),
        ], static fn (mixed $value): bool => $value !== null);

        $timeout = $this->setting($job, 'timeout', Timeout::class);
        if ($timeout !== null) {
            $headers['timelimit'] = [$timeout, null];
        }

        $id = (string) Str::uuid();
        $queue ??= TaskMapper::queue($job) ?? $this->defaultQueue;
        $added = $this->payloadAdditions($job, $id, $queue ?? $this->settings($job)->queue);
        if ($added !== []) {
            $headers[LaravelHeader::NAME] = $added;
        }

        return TaskMessage::make(
            TaskMapper::name($job),
            TaskMapper::arguments($job),
            $queue,
            ['id' => $id, 'job' => $job, 'delay' => $delay, 'after_commit' => false] + $headers,
        );
    }

    /**
     * Returns the keys that callbacks of `Queue::createPayloadUsing()` add to a job's payload. They
     * get the payload that Laravel's own queues give them, with the job itself.
     *
     * @return array<string, mixed>
     */
    private function payloadAdditions(object $job, string $id, string $queue): array
    {
        $payload = [
            'uuid' => $id,
            'displayName' => $this->getDisplayName($job),
            'job' => TaskMapper::name($job),
            'maxTries' => $this->setting($job, 'tries', Tries::class),
            'maxExceptions' => null,
            'failOnTimeout' => false,
            'backoff' => $this->getJobBackoff($job),
            'timeout' => $this->setting($job, 'timeout', Timeout::class),
            'retryUntil' => $this->getJobExpiration($job),
            'data' => ['commandName' => get_class($job), 'command' => $job],
        ];

        return array_diff_key($this->withCreatePayloadHooks($queue, $payload), $payload);
    }

    /**
     * Returns a setting of a job, from a property or, since Laravel 13, from an attribute.
     */
    private function setting(object $job, string $property, string $attribute): mixed
    {
        return method_exists($this, 'getAttributeValue')
            ? $this->getAttributeValue($job, $attribute, $property)
            : ($job->{$property} ?? null);
    }

    private function refuseUnlessMapped(mixed $job): void
    {
        if (! TaskMapper::maps($job)) {
            throw JobCannotRunOnCelery::unmapped($job);
        }
        if (! empty($job->chained)) {
            throw JobCannotRunOnCelery::because($job, 'it begins a chain, and a Celery worker does not start the next job');
        }
        if (! empty($job->batchId)) {
            throw JobCannotRunOnCelery::because($job, 'it belongs to a batch, and a Celery worker does not report to a batch');
        }
        if ($job instanceof ShouldBeEncrypted) {
            throw JobCannotRunOnCelery::because($job, 'it must be encrypted, and a Celery worker cannot decrypt it');
        }
        if ($job instanceof ShouldBeUnique && $this->uniqueFor($job) <= 0) {
            throw JobCannotRunOnCelery::because($job, 'it is unique without an end: nothing here sees the end of a Celery '
                .'task, so its lock would never be released. Give it a $uniqueFor of some seconds');
        }
    }

    private function uniqueFor(object $job): int
    {
        return (int) (method_exists($job, 'uniqueFor')
            ? $job->uniqueFor()
            : $this->setting($job, 'uniqueFor', UniqueFor::class));
    }

    /**
     * Returns the name of the Celery connection of a job; null is the default one.
     */
    private function connectionFor(?object $job): ?string
    {
        return $this->celeryConnection ?? ($job === null ? null : TaskMapper::connection($job));
    }

    private function queueFor(mixed $queue): string
    {
        return TaskMessage::queueName($queue) ?? $this->defaultQueue ?? $this->settings()->queue;
    }

    private function settings(?object $job = null): ConnectionSettings
    {
        return ($this->manager)()->settings($this->connectionFor($job));
    }

    private function redis(): RedisQueues
    {
        return new RedisQueues($this->settings());
    }
}
