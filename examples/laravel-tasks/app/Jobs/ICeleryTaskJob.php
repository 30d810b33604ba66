<?php

namespace App\Jobs;

/**
 * A job that a Celery worker runs.
 */
interface ICeleryTaskJob
{
    /**
     * Sends the task for the row with this id.
     */
    public static function dispatch($id): \AsyncResult;
}
