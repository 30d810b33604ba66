<?php

declare(strict_types=1);

namespace CeleryBridge;

use BackedEnum;
use DateInterval;
use DateTimeImmutable;
use DateTimeInterface;
use DateTimeZone;
use Illuminate\Support\Str;
use InvalidArgumentException;
use UnitEnum;

/**
 * One task before its post: all that is known before the task is encoded. A plain value.
 */
final class TaskMessage
{
    /** Seconds, about 7,900 years: added to today, they give a year of four digits. */
    private const FAR = 250_000_000_000;

    /** Options that are no fields of the message, or have another name there. */
    private const NOT_SENT = ['id', 'queue', 'delay', 'countdown', 'eta', 'after_commit', 'immutable', 'tracked'];

    /**
     * @param  string  $id  the task's and its result's id
     * @param  string  $name  the task's name
     * @param  array<array-key, mixed>  $args  a list is positional arguments, any other array keyword arguments
     * @param  string|null  $queue  null: the connection's queue
     * @param  array<string, mixed>  $fields  further fields of the message, by the names of celery-php's $task_args
     * @param  bool|null  $afterCommit  null: the connection's setting
     * @param  object|null  $job  the job of Laravel's that is posted as this task
     * @param  bool  $immutable  in a canvas, true if it does not get the result of the task before it
     * @param  bool  $once  true to post it so that, within an hour, a second post with its id queues nothing
     * @param  bool  $tracked  true to track it as a job of the connection "celery" is
     */
    private function __construct(
        public readonly string $id,
        public readonly string $name,
        public readonly array $args = [],
        public readonly ?string $queue = null,
        public readonly array $fields = [],
        public readonly ?bool $afterCommit = null,
        public readonly ?object $job = null,
        public readonly bool $immutable = false,
        public readonly bool $once = false,
        public readonly bool $tracked = false,
    ) {
        if ($name === '') {
            throw new InvalidArgumentException('a Celery task needs a name');
        }
    }

    /**
     * @param  array<array-key, mixed>  $args  in the forms that {@see Arguments} knows
     * @param  array<string, mixed>  $options
     *     `id` string (a fresh UUID otherwise);
     *     `delay` or `countdown` seconds, DateInterval or a time; `eta` a time;
     *     `expires` a time, or seconds from now;
     *     `after_commit` bool;
     *     `queue`, where the parameter is null;
     *     `immutable` bool: in a canvas, it does not get the result of the task before it;
     *     `tracked` bool: `celery:listen` brings its outcome, as that of a job;
     *     `job`, an object that is posted as this task: not sent, but shown to events and tests;
     *     other names go into the message: `timelimit`, `retries`, `callbacks`, …; unknown names become headers
     */
    public static function make(
        string $name,
        array $args = [],
        string|UnitEnum|null $queue = null,
        array $options = [],
    ): self {
        $fields = array_diff_key($options, array_flip(self::NOT_SENT));

        $job = is_object($options['job'] ?? null) ? $options['job'] : null;
        if ($job !== null) {
            unset($fields['job']);
        }

        $delay = $options['eta'] ?? $options['delay'] ?? $options['countdown'] ?? null;
        if ($delay !== null && $delay !== 0) {
            $fields['eta'] = self::time($delay, 'eta');
        }

        if (isset($fields['expires'])) {
            $fields['expires'] = self::time($fields['expires'], 'expires');
        }

        return new self(
            isset($options['id']) ? (string) $options['id'] : (string) Str::uuid(),
            $name,
            Arguments::normalise($name, $args),
            self::queueName($queue ?? $options['queue'] ?? null),
            Arguments::normalise($name, $fields),
            isset($options['after_commit']) ? (bool) $options['after_commit'] : null,
            $job,
            (bool) ($options['immutable'] ?? false),
            tracked: (bool) ($options['tracked'] ?? false),
        );
    }

    /**
     * Returns this task for another queue.
     */
    public function withQueue(string $queue): self
    {
        return $this->with(['queue' => $queue]);
    }

    /**
     * Returns this task with one field of the message set.
     */
    public function withField(string $name, mixed $value): self
    {
        return $this->with(['fields' => [$name => $value] + $this->fields]);
    }

    /**
     * Returns this task with another rule for open transactions; null: the connection's setting.
     */
    public function withAfterCommit(?bool $afterCommit): self
    {
        return $this->with(['afterCommit' => $afterCommit]);
    }

    /**
     * Returns this task so that, in a canvas, it does not get the result of the task before it.
     */
    public function immutable(): self
    {
        return $this->with(['immutable' => true]);
    }

    /**
     * Returns this task so that, within an hour, a second post with its id queues nothing.
     */
    public function once(): self
    {
        return $this->with(['once' => true]);
    }

    /**
     * Returns this task with one more argument, before the others.
     */
    public function withFirstArgument(mixed $value): self
    {
        return $this->with(['args' => [$value, ...array_values($this->args)]]);
    }

    /**
     * Returns this task as that of a job.
     */
    public function withJob(object $job): self
    {
        return $this->with(['job' => $job]);
    }

    /**
     * Returns this task so that `celery:listen` brings its outcome, as that of a job.
     */
    public function tracked(): self
    {
        return $this->with(['tracked' => true]);
    }

    /**
     * @param  array<string, mixed>  $changes  by the names of the properties
     */
    private function with(array $changes): self
    {
        return new self(...array_merge(get_object_vars($this), $changes));
    }

    /**
     * Returns a delay as the message's `eta`: seconds from now, an interval, or a time.
     */
    public static function eta(DateTimeInterface|DateInterval|int|float $delay): string
    {
        return self::time($delay, 'eta');
    }

    /**
     * Returns the name of a queue in any of the forms that Laravel allows; empty means none.
     */
    public static function queueName(mixed $queue): ?string
    {
        if ($queue instanceof BackedEnum) {
            $queue = $queue->value;
        } elseif ($queue instanceof UnitEnum) {
            $queue = $queue->name;
        }

        return $queue === null || $queue === '' ? null : (string) $queue;
    }

    /**
     * Returns a time as Celery writes it, in UTC: 2026-11-22T07:40:20.996002+00:00.
     */
    private static function time(mixed $when, string $field): string
    {
        $now = new DateTimeImmutable('now', new DateTimeZone('UTC'));

        $time = match (true) {
            $when instanceof DateTimeInterface => DateTimeImmutable::createFromInterface($when),
            $when instanceof DateInterval => $now->add($when),
            is_int($when), is_float($when), is_string($when) && is_numeric($when) => self::after($now, (float) $when, $field),
            is_string($when) => new DateTimeImmutable($when, new DateTimeZone('UTC')),
            default => throw new InvalidArgumentException(
                "{$field} must be a time, an interval or seconds, not ".get_debug_type($when),
            ),
        };

        return $time->setTimezone(new DateTimeZone('UTC'))->format('Y-m-d\TH:i:s.uP');
    }

    /**
     * Returns the time that is $seconds from now. They are added in two parts, because PHP's parser
     * misreads a large number of microseconds.
     */
    private static function after(DateTimeImmutable $now, float $seconds, string $field): DateTimeImmutable
    {
        $whole = floor($seconds);
        if (abs($whole) > self::FAR || is_nan($seconds)) {
            throw new InvalidArgumentException("{$field} is too far away: Celery knows times until the year 9999");
        }
        $microseconds = (int) $now->format('u') + (int) round(($seconds - $whole) * 1_000_000);

        return $now
            ->setTimestamp($now->getTimestamp() + (int) $whole + intdiv($microseconds, 1_000_000))
            ->modify(sprintf('+%d microseconds', $microseconds % 1_000_000));
    }
}
