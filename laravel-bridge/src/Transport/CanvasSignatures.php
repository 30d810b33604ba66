<?php

declare(strict_types=1);

namespace CeleryBridge\Transport;

use CeleryBridge\Canvas\Canvas;
use CeleryBridge\Canvas\Chain;
use CeleryBridge\Canvas\Chord;
use CeleryBridge\Canvas\Group;
use CeleryBridge\TaskMessage;
use DateTimeImmutable;
use InvalidArgumentException;

/**
 * Writes the plain values of a canvas as objects of the extension.
 */
final class CanvasSignatures
{
    /** Fields of a message, and the names of the extension's options for them. */
    private const OPTIONS = [
        'priority' => 'priority',
        'retries' => 'retries',
        'shadow' => 'shadow',
        'reply_to' => 'replyTo',
        'ignore_result' => 'ignoreResult',
        'argsrepr' => 'argsrepr',
        'kwargsrepr' => 'kwargsrepr',
    ];

    private const TIMES = ['eta', 'expires'];

    /** Fields by which a message says what surrounds it. Here the canvas says that. */
    private const PLACES = [
        'callbacks', 'errbacks', 'chain', 'chord', 'taskset', 'group', 'group_index', 'root_id', 'parent_id',
    ];

    public static function of(TaskMessage|Canvas $member): \Celery\Canvas
    {
        if ($member instanceof TaskMessage) {
            return self::signature($member);
        }

        $canvas = match (true) {
            $member instanceof Chain => new \Celery\Chain(...array_map(self::of(...), $member->steps)),
            $member instanceof Group => self::group($member),
            $member instanceof Chord => new \Celery\Chord(self::group($member->header), self::of($member->body)),
            default => throw new InvalidArgumentException('not a canvas: '.get_debug_type($member)),
        };
        $errbacks = array_map(self::signature(...), $member->errbacks());

        return $errbacks === [] ? $canvas : $canvas->linkError(...$errbacks);
    }

    private static function group(Group $group): \Celery\Group
    {
        $members = array_map(self::of(...), array_values($group->members));

        return (new \Celery\Group(...$members))->set(taskId: $group->id);
    }

    private static function signature(TaskMessage $task): \Celery\Signature
    {
        $options = $headers = [];
        foreach ($task->fields as $name => $value) {
            if (in_array($name, self::PLACES, true)) {
                throw new InvalidArgumentException("the task {$task->name} has the field \"{$name}\", which a canvas sets itself");
            }
            if ($name === 'timelimit') {
                [$options['timeLimit'], $options['softTimeLimit']] = self::limits($value);
            } elseif (in_array($name, self::TIMES, true)) {
                $options[$name] = new DateTimeImmutable((string) $value);
            } elseif (isset(self::OPTIONS[$name])) {
                $options[self::OPTIONS[$name]] = $value;
            } else {
                $headers[$name] = $value;
            }
        }
        $isList = array_is_list($task->args);
        $options += ['queue' => $task->queue, 'taskId' => $task->id, 'headers' => $headers === [] ? null : $headers];

        return new \Celery\Signature(
            $task->name,
            $isList ? $task->args : [],
            $isList ? [] : $task->args,
            $task->immutable,
            ...$options,
        );
    }

    /**
     * @return array{float|null, float|null}
     */
    private static function limits(mixed $given): array
    {
        [$hard, $soft] = array_pad(array_values((array) $given), 2, null);

        return [$hard === null ? null : (float) $hard, $soft === null ? null : (float) $soft];
    }
}
