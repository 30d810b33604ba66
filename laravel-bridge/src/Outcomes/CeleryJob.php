<?php

declare(strict_types=1);

namespace CeleryBridge\Outcomes;

use Illuminate\Container\Container;
use Illuminate\Contracts\Queue\Job as JobContract;
use Illuminate\Queue\Jobs\Job;
use stdClass;

/**
 * A job whose task has ended on a Celery worker, in the form that Laravel's events and `failed()`
 * expect. It cannot be run.
 */
final class CeleryJob extends Job implements JobContract
{
    public function __construct(Container $container, private readonly stdClass $row)
    {
        $this->container = $container;
        $this->connectionName = $row->queue_connection;
        $this->queue = $row->queue;
    }

    /**
     * @return string
     */
    public function getJobId()
    {
        return $this->row->id;
    }

    /**
     * @return string
     */
    public function getRawBody()
    {
        return $this->row->payload;
    }

    /**
     * @return int
     */
    public function attempts()
    {
        return 1;
    }

    /**
     * @param  \Throwable|null  $e
     * @return void
     */
    protected function failed($e)
    {
        // A job that cannot be serialized has no object here whose failed() could be called.
        if (isset($this->payload()['data']['command'])) {
            parent::failed($e);
        }
    }
}
