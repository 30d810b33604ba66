<?php

declare(strict_types=1);

namespace CeleryBridge;

use BackedEnum;
use CeleryBridge\Exceptions\ArgumentCannotBeSent;
use DateInterval;
use DatePeriod;
use DateTimeInterface;
use DateTimeZone;
use Illuminate\Contracts\Queue\QueueableCollection;
use Illuminate\Contracts\Queue\QueueableEntity;
use Illuminate\Contracts\Support\Arrayable;
use Illuminate\Support\Enumerable;
use JsonSerializable;
use stdClass;
use Stringable;
use Throwable;
use Traversable;
use UnitEnum;

/**
 * Turns the arguments of a task into values that every Celery worker can read: null, booleans,
 * numbers, text, arrays, and objects of such values.
 *
 * A model becomes its key, at any depth, as in a job that Laravel queues: the worker reads the row
 * itself, in its present state. A value that would arrive as something else is refused.
 */
final class Arguments
{
    /** The depth to which the extension and its workers read JSON. */
    private const MAX_DEPTH = 127;

    /** Writes a time as Python's `datetime.isoformat()` does, such as 2026-11-22T07:40:20.996002+00:00. */
    private const TIME = 'Y-m-d\TH:i:s.uP';

    private function __construct(private readonly string $task)
    {
    }

    /**
     * @param  string  $task  the task's name, for messages
     * @param  array<array-key, mixed>  $values
     * @return array<array-key, mixed>  under the keys of $values
     *
     * @throws ArgumentCannotBeSent
     */
    public static function normalise(string $task, array $values): array
    {
        return (new self($task))->each($values, []);
    }

    /**
     * @param  array<array-key, mixed>  $values
     * @param  list<array-key>  $path  the keys that lead to the values
     * @return array<array-key, mixed>
     */
    private function each(array $values, array $path): array
    {
        if (count($path) >= self::MAX_DEPTH) {
            throw ArgumentCannotBeSent::because($this->task, array_slice($path, 0, 1), sprintf(
                'it contains itself, or nests deeper than %d levels',
                self::MAX_DEPTH,
            ));
        }
        foreach ($values as $key => $value) {
            if (! is_scalar($value) && $value !== null) {
                $values[$key] = $this->one($value, [...$path, $key]);
            }
        }

        return $values;
    }

    /**
     * @param  list<array-key>  $path
     */
    private function one(mixed $value, array $path): mixed
    {
        return match (true) {
            is_array($value) => $this->each($value, $path),
            $value instanceof QueueableEntity => $this->key($value, $path),
            // The keys of a filtered collection of models are positions in the query's result.
            $value instanceof QueueableCollection && $value instanceof Enumerable => $this->each(self::numbered($value->all()), $path),
            $value instanceof Enumerable => $this->each($value->all(), $path),
            $value instanceof DateTimeInterface => $value->format(self::TIME),
            $value instanceof DateTimeZone => $value->getName(),
            $value instanceof BackedEnum => $value->value,
            $value instanceof stdClass => (object) $this->each(get_object_vars($value), $path),
            default => $this->object($value, $path),
        };
    }

    /**
     * @param  list<array-key>  $path
     */
    private function object(mixed $value, array $path): mixed
    {
        if (! is_object($value)) {
            throw $this->refused($value, $path, 'which is not a value');
        }
        if ($value instanceof DateInterval || $value instanceof DatePeriod) {
            throw $this->refused($value, $path, 'which JSON has no form for; pass seconds or times');
        }
        if ($value instanceof UnitEnum) {
            throw $this->refused($value, $path, 'whose cases have no values; pass its name');
        }
        if ($value instanceof Throwable) {
            throw $this->refused($value, $path, 'whose trace may hold secrets; pass its message');
        }
        if ($value instanceof JsonSerializable) {
            $form = $value->jsonSerialize();
            if ($form === $value) {
                throw $this->refused($value, $path, 'whose jsonSerialize() returns itself');
            }

            return is_scalar($form) || $form === null ? $form : $this->one($form, $path);
        }
        if ($value instanceof Arrayable) {
            return $this->each($value->toArray(), $path);
        }
        if ($value instanceof Traversable) {
            throw $this->refused($value, $path, 'which can often be read only once; pass an array');
        }

        $properties = get_object_vars($value);
        if ($properties !== []) {
            return (object) $this->each($properties, $path);
        }
        if ($value instanceof Stringable) {
            return (string) $value;
        }

        throw $this->refused($value, $path, 'which has no public properties and would arrive empty');
    }

    /**
     * @param  list<array-key>  $path
     */
    private function key(QueueableEntity $model, array $path): mixed
    {
        $key = $model->getQueueableId();
        if ($key === null) {
            throw $this->refused($model, $path, 'which has no key yet; save it first');
        }

        return is_scalar($key) ? $key : $this->one($key, $path);
    }

    /**
     * Returns the values as a list, unless they have names.
     *
     * @param  array<array-key, mixed>  $values
     * @return array<array-key, mixed>
     */
    private static function numbered(array $values): array
    {
        return array_filter(array_keys($values), is_string(...)) === [] ? array_values($values) : $values;
    }

    /**
     * @param  list<array-key>  $path
     */
    private function refused(mixed $value, array $path, string $reason): ArgumentCannotBeSent
    {
        return ArgumentCannotBeSent::because($this->task, $path, 'it is a '.get_debug_type($value).", {$reason}");
    }
}
