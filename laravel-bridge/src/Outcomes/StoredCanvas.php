<?php

declare(strict_types=1);

namespace CeleryBridge\Outcomes;

use __PHP_Incomplete_Class;
use CeleryBridge\Canvas\Canvas;
use CeleryBridge\Canvas\Chain;
use CeleryBridge\Canvas\Chord;
use CeleryBridge\Canvas\Group;
use CeleryBridge\TaskMessage;
use Closure;
use Illuminate\Support\Str;
use stdClass;
use Throwable;

/**
 * The tasks behind a task of a chain, as its row keeps them, so that a retry continues the chain.
 */
final class StoredCanvas
{
    /** The most bytes of what a row keeps. The retry of a longer chain sends the failed task alone. */
    private const MOST_BYTES = 65_536;

    /**
     * Returns the steps that follow each task of a chain, by the id of that task. Other tasks have none.
     *
     * @param  Closure(object): ?string  $serialize  writes a job; null if that is impossible
     * @return array<string, array<string, mixed>>
     */
    public static function rests(Canvas $canvas, Closure $serialize): array
    {
        $rests = $rest = [];
        $steps = $canvas instanceof Chain ? $canvas->steps : [];
        $errbacks = array_map(static fn (TaskMessage $task): array => self::write($task, $serialize), $canvas->errbacks());
        $left = self::MOST_BYTES - strlen((string) json_encode($errbacks));
        // From the end, where the rests are short.
        for ($place = count($steps) - 1; $place > 0 && $left > 0; $place--) {
            $step = self::write($steps[$place], $serialize);
            $text = json_encode($step);
            $left -= $text === false ? self::MOST_BYTES : strlen($text) + 1;
            $rest = [$step, ...$rest];
            if ($left > 0 && $steps[$place - 1] instanceof TaskMessage) {
                $rests[$steps[$place - 1]->id] = ['chain' => $rest] + ($errbacks === [] ? [] : ['errbacks' => $errbacks]);
            }
        }

        return $rests;
    }

    /**
     * Reads what `rests()` has written, with fresh ids and without the times that have passed.
     */
    public static function read(stdClass $stored): TaskMessage|Canvas
    {
        $parts = static fn (mixed $parts): array => array_map(self::read(...), is_object($parts) ? get_object_vars($parts) : (array) $parts);
        $part = match (true) {
            isset($stored->chain) => new Chain($parts($stored->chain)),
            isset($stored->group) => new Group($parts($stored->group)),
            isset($stored->chord) => self::chord(...$parts($stored->chord)),
            default => self::task($stored),
        };
        $errbacks = array_filter($parts($stored->errbacks ?? []), static fn ($task): bool => $task instanceof TaskMessage);

        return $part instanceof Canvas ? $part->withErrbacks(...array_values($errbacks)) : $part;
    }

    /**
     * Returns the job that a text of `serialize()` is; null if its class is gone.
     */
    public static function job(?string $serialized): ?object
    {
        try {
            $job = $serialized === null ? null : unserialize($serialized);
        } catch (Throwable) {
            $job = null;
        }

        return is_object($job) && ! $job instanceof __PHP_Incomplete_Class ? $job : null;
    }

    /**
     * @param  Closure(object): ?string  $serialize
     * @return array<string, mixed>
     */
    private static function write(TaskMessage|Canvas $part, Closure $serialize): array
    {
        $all = static fn (array $parts): array => array_map(static fn ($part): array => self::write($part, $serialize), $parts);
        if ($part instanceof TaskMessage) {
            return array_filter([
                'immutable' => $part->immutable,
                'tracked' => $part->tracked,
                'command' => $part->job === null ? null : $serialize($part->job),
            ]) + StoredMessage::toArray($part, null);
        }
        $stored = match (true) {
            $part instanceof Chord => ['chord' => [self::write($part->header, $serialize), self::write($part->body, $serialize)]],
            $part instanceof Group => ['group' => $all($part->members)],
            default => ['chain' => $all($part instanceof Chain ? $part->steps : [])],
        };

        return $part->errbacks() === [] ? $stored : $stored + ['errbacks' => $all($part->errbacks())];
    }

    private static function task(stdClass $stored): TaskMessage
    {
        $task = StoredMessage::ofMessage($stored)->again((string) Str::uuid(), null);
        $job = self::job($stored->command ?? null);
        $task = $job === null ? $task : $task->withJob($job);
        $task = empty($stored->immutable) ? $task : $task->immutable();

        return empty($stored->tracked) ? $task : $task->tracked();
    }

    private static function chord(TaskMessage|Canvas $header, TaskMessage|Canvas $body): Chord
    {
        return new Chord($header instanceof Group ? $header : new Group([$header]), $body);
    }
}
