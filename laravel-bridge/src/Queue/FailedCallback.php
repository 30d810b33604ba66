<?php

declare(strict_types=1);

namespace CeleryBridge\Queue;

use Illuminate\Contracts\Container\Container;
use Illuminate\Contracts\Debug\ExceptionHandler;
use Throwable;

/**
 * Calls a job's own `failed()` when its task could not be posted and no program will retry.
 */
final class FailedCallback
{
    /**
     * Calls `failed()`. Its own exceptions are reported, so that the caller gets the reason of the
     * failure.
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
