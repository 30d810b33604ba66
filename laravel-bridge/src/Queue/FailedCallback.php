<?php

declare(strict_types=1);

namespace CeleryBridge\Queue;

use Illuminate\Contracts\Container\Container;
use Illuminate\Contracts\Debug\ExceptionHandler;
use Throwable;

/**
 * Tells a job, by its own `failed()`, that its task could not be posted and that nobody will try again.
 */
final class FailedCallback
{
    /**
     * What `failed()` itself throws is reported, so that the caller gets the reason of the failure.
     */
    public static function call(Container $container, object $job, Throwable $reason): void
    {
        if (! method_exists($job, 'failed')) {
            return;
        }

        try {
            $job->failed($reason);
        } catch (Throwable $e) {
            if ($container->bound(ExceptionHandler::class)) {
                $container->make(ExceptionHandler::class)->report($e);
            }
        }
    }
}
