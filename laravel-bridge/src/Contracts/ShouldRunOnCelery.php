<?php

declare(strict_types=1);

namespace CeleryBridge\Contracts;

use Illuminate\Contracts\Queue\ShouldQueue;

/**
 * A job that is a Celery task: a worker of Celery, in Rust or Python, runs it – not PHP.
 *
 * The task's name comes from a method `celeryTask(): string` or from the attribute
 * {@see \CeleryBridge\Attributes\CeleryTask}; its arguments from a method `celeryArguments(): array` or else from the
 * properties named as the constructor's parameters, in their order.
 */
interface ShouldRunOnCelery extends ShouldQueue
{
}
