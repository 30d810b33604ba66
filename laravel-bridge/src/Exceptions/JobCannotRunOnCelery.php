<?php

declare(strict_types=1);

namespace CeleryBridge\Exceptions;

use LogicException;

/**
 * A job was sent to Celery, but no Celery worker could run it.
 */
final class JobCannotRunOnCelery extends LogicException implements CeleryBridgeException
{
    public static function because(mixed $job, string $reason): self
    {
        $name = is_string($job) ? $job : get_debug_type($job);

        return new self("[{$name}] cannot run on Celery: {$reason}");
    }

    public static function unmapped(mixed $job): self
    {
        // Queued mail, notifications, listeners, broadcasts, closures.
        if (is_object($job) && str_starts_with($job::class, 'Illuminate\\')) {
            $what = method_exists($job, 'displayName') ? $job->displayName() : $job::class;

            return self::because($job, "it is a job of Laravel's own for [{$what}], which only PHP workers can run. Keep "
                .'a connection that they serve as the default (`queue.default`), and name the connection of Celery in '
                .'the jobs that are Celery tasks.');
        }

        return self::because($job, 'it names no Celery task, and a Celery worker cannot unserialize PHP objects. '
            .'Give the class the attribute #[CeleryTask(\'name\')] or a method celeryTask(), or dispatch it to a '
            .'queue connection that PHP workers serve.');
    }
}
