<?php

declare(strict_types=1);

namespace CeleryBridge\Queue;

use Celery\Client;

/**
 * The part of Laravel's queue contract that reads and empties queues.
 */
trait LooksUpQueues
{
    /**
     * Returns the number of messages waiting in the queue.
     *
     * @param  mixed  $queue
     * @return int
     */
    public function size($queue = null)
    {
        return array_sum($this->broker()->queueLengths($this->queueFor($queue)));
    }

    /**
     * @param  mixed  $queue
     * @return int
     */
    public function pendingSize($queue = null)
    {
        return $this->size($queue);
    }

    /**
     * Returns 0 always: tasks with an ETA wait in the queue or at a worker, among the others.
     *
     * @param  mixed  $queue
     * @return int
     */
    public function delayedSize($queue = null)
    {
        return 0;
    }

    /**
     * Returns the number of tasks that workers hold, for all queues of the broker: Celery does not
     * separate them by queue. 0 on a RabbitMQ, which does not say it.
     *
     * @param  mixed  $queue
     * @return int
     */
    public function reservedSize($queue = null)
    {
        return $this->isOnRabbitMq() ? 0 : $this->broker()->heldTasks();
    }

    /**
     * Returns null always: a Celery message does not contain the time of its post.
     *
     * @param  mixed  $queue
     * @return int|null
     */
    public function creationTimeOfOldestPendingJob($queue = null)
    {
        return null;
    }

    /**
     * Deletes the messages waiting in the queue; tasks at workers stay.
     *
     * @param  mixed  $queue
     * @return int the number of deleted messages
     */
    public function clear($queue)
    {
        return $this->broker()->purge($this->queueFor($queue));
    }

    abstract protected function queueFor(mixed $queue): string;

    abstract protected function broker(): Client;

    abstract protected function isOnRabbitMq(): bool;
}
