<?php

declare(strict_types=1);

namespace CeleryBridge\Contracts;

/**
 * The result of one task. Reading leaves it where it is, until `forget()` or until it expires.
 */
interface Result
{
    /** The task's id. */
    public function id(): string;

    /** Celery's word for the state: PENDING, STARTED, RETRY, SUCCESS, FAILURE, REVOKED, or one of the task's own. */
    public function status(): string;

    /** Whether the task has ended, well or not. */
    public function ready(): bool;

    /** Whether the task has ended well. False while it has not ended. */
    public function successful(): bool;

    /** Whether the task has failed. False while it has not ended. */
    public function failed(): bool;

    /**
     * Wait for the end of the task and give what it returned. Objects come as stdClass.
     *
     * @param  float|null  $timeout  seconds; 0 looks once; null: the INI setting celery.result_timeout
     *
     * @throws \CeleryBridge\Exceptions\ResultTimedOut  it has not ended in time
     * @throws \CeleryBridge\Exceptions\TaskFailed  it failed or was revoked
     */
    public function get(?float $timeout = null): mixed;

    /** The worker's traceback of a task that failed or is being retried. */
    public function traceback(): ?string;

    /** Delete the stored result. */
    public function forget(): void;

    /** Tell the workers running now not to run the task. A task that runs already goes on. */
    public function revoke(): void;
}
