<?php

declare(strict_types=1);

namespace CeleryBridge\Attributes;

use Attribute;

/**
 * Names the Celery task of a job.
 */
#[Attribute(Attribute::TARGET_CLASS)]
final class CeleryTask
{
    /**
     * @param  string  $name  the task's name, as the worker registers it
     * @param  string|null  $queue  its queue, unless `onQueue()` names another; null: the
     * connection's
     * @param  string|null  $connection  its connection in config/celery.php; null: the default
     */
    public function __construct(
        public readonly string $name,
        public readonly ?string $queue = null,
        public readonly ?string $connection = null,
    ) {
    }
}
