<?php

declare(strict_types=1);

namespace CeleryBridge\Contracts;

use Illuminate\Contracts\Queue\ShouldQueue;

/**
 * A job that is a Celery task: a Celery worker in Rust or Python runs it, not PHP.
 *
 * The task's name comes from a method `celeryTask(): string` or from the attribute
 * {@see \CeleryBridge\Attributes\CeleryTask}. Its arguments come from a method
 * `celeryArguments(): array`, otherwise from the properties with the names of the constructor's
 * parameters, in their order.
 */
interface ShouldRunOnCelery extends ShouldQueue
{
}
