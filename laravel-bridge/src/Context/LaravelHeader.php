<?php

declare(strict_types=1);

namespace CeleryBridge\Context;

use CeleryBridge\Arguments;
use CeleryBridge\Exceptions\ArgumentCannotBeSent;
use CeleryBridge\TaskMessage;
use Illuminate\Contracts\Container\Container;
use Illuminate\Log\Context\Repository;

/**
 * The header `laravel` of a message: what Laravel would add to the payload of a queued job.
 *
 * One header has all of it, so that no key can hide one of Celery's own headers. It holds the keys
 * that callbacks of `Queue::createPayloadUsing()` add, and Laravel's Context in two forms:
 * `illuminate:log:context` as Laravel writes it, for PHP, and `context`, its visible values as
 * JSON, for other workers.
 */
final class LaravelHeader
{
    public const NAME = 'laravel';

    private const DEHYDRATED = 'illuminate:log:context';

    private const VISIBLE = 'context';

    /**
     * Returns the task with the Context of this moment. Laravel has one since version 11.
     */
    public static function addContext(Container $container, TaskMessage $task): TaskMessage
    {
        $header = $task->fields[self::NAME] ?? [];
        if (! $container->bound(Repository::class) || ! is_array($header)) {
            return $task;
        }

        $context = $container->make(Repository::class);
        $dehydrated = $header[self::DEHYDRATED] ?? $context->dehydrate();
        if ($dehydrated === null) {
            return $task;
        }

        $header += [self::DEHYDRATED => $dehydrated, self::VISIBLE => self::readable($task->name, $context->all())];

        return $task->withField(self::NAME, $header);
    }

    /**
     * Returns the values that can be sent as JSON. The others are in Laravel's own form only.
     *
     * @param  array<string, mixed>  $values
     */
    private static function readable(string $task, array $values): object
    {
        $readable = [];
        foreach ($values as $key => $value) {
            try {
                $readable += Arguments::normalise($task, [$key => $value]);
            } catch (ArgumentCannotBeSent) {
                continue;
            }
        }

        return (object) $readable;
    }
}
