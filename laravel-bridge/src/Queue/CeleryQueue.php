<?php

declare(strict_types=1);

namespace CeleryBridge\Queue;

use Celery\Client;
use CeleryBridge\Config\ConnectionSettings;
use CeleryBridge\Context\LaravelHeader;
use CeleryBridge\Context\TraceHeaders;
use CeleryBridge\Contracts\Factory;
use CeleryBridge\Exceptions\ArgumentCannotBeSent;
use CeleryBridge\Exceptions\JobCannotRunOnCelery;
use CeleryBridge\Exceptions\ServedByCelery;
use CeleryBridge\TaskMessage;
use CeleryBridge\Transport\ExtensionTransport;
use Closure;
use Illuminate\Container\Container;
use Illuminate\Contracts\Queue\ClearableQueue;
use Illuminate\Contracts\Queue\Queue as QueueContract;
use Illuminate\Contracts\Queue\ShouldBeUnique;
use Illuminate\Queue\Attributes\Delay;
use Illuminate\Queue\Attributes\FailOnTimeout;
use Illuminate\Queue\Attributes\MaxExceptions;
use Illuminate\Queue\Attributes\Timeout;
use Illuminate\Queue\Attributes\Tries;
use Illuminate\Queue\Attributes\UniqueFor;
use Illuminate\Queue\Queue;
use Illuminate\Support\Str;
use Throwable;

/**
 * Laravel's queue interface for Celery: a job that names a Celery task is posted as that task.
 *
 * A job is never sent serialized and never run here. PHP cannot take tasks from Celery's queues, so
 * `pop()` throws. `push()` throws for a job that no Celery worker could run.
 */
final class CeleryQueue extends Queue implements QueueContract, ClearableQueue
{
    use LooksUpQueues;
    use PostsJobs;
    use TracksJobs;

    /**
     * @param  Closure(Container): Factory  $manager  called at each use, so that a later fake takes
     * effect, and under Octane the container of the present request
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
     * Returns the queue "celery" without a configuration of its own.
     */
    public static function of(Container $container): self
    {
        $queue = new self(static fn (Container $container): Factory => $container->make(Factory::class));
        $queue->setContainer($container);
        $queue->setConnectionName('celery');

        return $queue;
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
            $postings[] = $this->prepare($job, $queue, is_object($job) ? $this->setting($job, 'delay', Delay::class) : null);
        }

        $this->send($postings);
    }

    /**
     * Returns the task that a job is in a canvas, with the queue, the delay and the rule for open
     * transactions of the job. Nothing is posted.
     *
     * @throws JobCannotRunOnCelery
     * @throws ArgumentCannotBeSent
     */
    public function toMember(object $job): TaskMessage
    {
        if ($job instanceof ShouldBeUnique) {
            throw JobCannotRunOnCelery::because($job, 'it is unique, and only a dispatch takes its lock, not a chain, '
                .'group or chord');
        }
        $delay = $this->setting($job, 'delay', Delay::class);

        return $this->prepare($job, $job->queue ?? null, $delay)->task->withAfterCommit($job->afterCommit ?? null);
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
     * @return string the task's id, which is known before a post that waits for a commit
     */
    private function enqueue(mixed $job, mixed $queue, mixed $delay): string
    {
        $posting = $this->prepare($job, $queue, $delay);
        $this->send([$posting]);

        return $posting->task->id;
    }

    /**
     * @throws JobCannotRunOnCelery
     * @throws ArgumentCannotBeSent
     */
    private function prepare(mixed $job, mixed $queue, mixed $delay): Posting
    {
        try {
            if (! is_object($job) || ! TaskMapper::maps($job)) {
                throw JobCannotRunOnCelery::unmapped($job);
            }
            $settings = $this->settingsOf($job);
            JobPolicy::refuseUnfit($job, $settings);
            $task = $this->toTask($job, $settings, TaskMessage::queueName($queue), $delay);

            return new Posting($job, $settings, TraceHeaders::add(LaravelHeader::addContext($this->container, $task)), $delay);
        } catch (Throwable $e) {
            UniqueLocks::release($this->container, $job);

            throw $e;
        }
    }

    private function toTask(object $job, JobSettings $settings, ?string $queue, mixed $delay): TaskMessage
    {
        $id = (string) Str::uuid();
        $queue ??= TaskMapper::queue($job) ?? $this->defaultQueue;
        $added = $this->payloadAdditions($job, $settings, $id, $queue ?? $this->settings($job)->queue);

        return TaskMessage::make(
            TaskMapper::name($job),
            TaskMapper::arguments($job),
            $queue,
            ['id' => $id, 'job' => $job, 'delay' => $delay, 'after_commit' => false]
                + JobPolicy::fields($settings)
                + ($added === [] ? [] : [LaravelHeader::NAME => $added]),
        );
    }

    /**
     * Returns the keys that callbacks of `Queue::createPayloadUsing()` add to a job's payload. They
     * get the payload that Laravel's own queues give them, with the job itself.
     *
     * @return array<string, mixed>
     */
    private function payloadAdditions(object $job, JobSettings $settings, string $id, string $queue): array
    {
        $payload = $this->payload($job, $settings, $id);

        return array_diff_key($this->withCreatePayloadHooks($queue, $payload), $payload);
    }

    /**
     * Returns the payload of a job with the job itself in it, as callbacks get it.
     *
     * @return array<string, mixed>
     */
    private function payload(object $job, JobSettings $settings, string $id): array
    {
        return [
            'uuid' => $id,
            'displayName' => $this->getDisplayName($job),
            'job' => TaskMapper::name($job),
            'maxTries' => $settings->tries,
            'maxExceptions' => $settings->maxExceptions,
            'failOnTimeout' => $settings->failOnTimeout,
            'backoff' => $settings->backoff,
            'timeout' => $settings->timeout,
            'retryUntil' => $settings->retryUntil,
            'data' => ['commandName' => get_class($job), 'command' => $job],
        ];
    }

    private function settingsOf(object $job): JobSettings
    {
        $middleware = [
            ...(method_exists($job, 'middleware') ? (array) $job->middleware() : []),
            ...(array) ($job->middleware ?? []),
        ];
        $number = static fn (mixed $value): ?int => $value === null ? null : (int) $value;

        return new JobSettings(
            $number(method_exists($job, 'tries') ? $job->tries() : $this->setting($job, 'tries', Tries::class)),
            $this->getJobBackoff($job),
            $number($this->setting($job, 'timeout', Timeout::class)),
            (bool) $this->setting($job, 'failOnTimeout', FailOnTimeout::class),
            $number($this->setting($job, 'maxExceptions', MaxExceptions::class)),
            $number($this->getJobExpiration($job)),
            (int) (method_exists($job, 'uniqueFor') ? $job->uniqueFor() : $this->setting($job, 'uniqueFor', UniqueFor::class)),
            ! empty($job->debounceOwner),
            $this->jobShouldBeEncrypted($job),
            array_values($middleware),
        );
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

    /**
     * Returns the name of the Celery connection of a job; null is the default one.
     */
    private function connectionFor(?object $job): ?string
    {
        return $this->celeryConnection ?? ($job === null ? null : TaskMapper::connection($job));
    }

    protected function queueFor(mixed $queue): string
    {
        return TaskMessage::queueName($queue) ?? $this->defaultQueue ?? $this->settings()->queue;
    }

    private function settings(?object $job = null): ConnectionSettings
    {
        return $this->factory()->settings($this->connectionFor($job));
    }

    private function factory(): Factory
    {
        return ($this->manager)($this->container);
    }

    protected function isOnRabbitMq(): bool
    {
        return $this->settings()->broker->isRabbitMq();
    }

    protected function broker(): Client
    {
        return (new ExtensionTransport($this->settings()))->client();
    }
}
