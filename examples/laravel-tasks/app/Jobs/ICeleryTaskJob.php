<?php

namespace App\Jobs;

/**
 * A job that a Celery worker does.
 */
interface ICeleryTaskJob
{
    /**
     * Sends the task for the row of this id.
     */
    public static function dispatch($id): \AsyncResult;
}
