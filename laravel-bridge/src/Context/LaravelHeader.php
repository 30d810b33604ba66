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

    /** The most bytes of the header as JSON. A worker carries no more on to the tasks that follow. */
    public const MOST_BYTES = 65_536;

    private const DEHYDRATED = 'illuminate:log:context';

    private const VISIBLE = 'context';

    /**
     * Returns the task with the Context of this moment. Laravel has one since version 11.
     *
     * @throws ArgumentCannotBeSent the header is too large
     */
    public static function addContext(Container $container, TaskMessage $task): TaskMessage
    {
        $header = $task->fields[self::NAME] ?? [];
        if (is_array($header) && $container->bound(Repository::class)) {
            $header += self::contextFor($task->name, $container->make(Repository::class), $header);
        }
        if ($header === []) {
            return $task;
        }

        $bytes = strlen((string) json_encode($header, JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES | JSON_PARTIAL_OUTPUT_ON_ERROR));
        if ($bytes > self::MOST_BYTES) {
            throw ArgumentCannotBeSent::because($task->name, [self::NAME], sprintf(
                "Laravel's Context and the callbacks of Queue::createPayloadUsing() have %d bytes, and a header takes %d. "
                .'Keep large values elsewhere, and only their keys in the Context',
                $bytes,
                self::MOST_BYTES,
            ));
        }

        return $task->withField(self::NAME, $header);
    }

    /**
     * Makes the Context of a job's payload the present one, as Laravel's workers do.
     *
     * @param  array<string, mixed>  $payload
     */
    public static function restoreContext(Container $container, array $payload): void
    {
        if ($container->bound(Repository::class)) {
            $container->make(Repository::class)->hydrate($payload[self::DEHYDRATED] ?? null);
        }
    }

    public static function forgetContext(Container $container): void
    {
        if ($container->bound(Repository::class)) {
            $container->make(Repository::class)->flush();
        }
    }

    /**
     * @param  array<string, mixed>  $header
     * @return array<string, mixed>
     */
    private static function contextFor(string $task, Repository $context, array $header): array
    {
        $dehydrated = $header[self::DEHYDRATED] ?? $context->dehydrate();

        return $dehydrated === null
            ? []
            : [self::DEHYDRATED => $dehydrated, self::VISIBLE => self::readable($task, $context->all())];
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
