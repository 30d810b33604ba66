<?php

declare(strict_types=1);

namespace CeleryBridge\Contracts;

/**
 * The result of one task. Reading does not delete it; it stays until `forget()` or until it
 * expires.
 */
interface Result
{
    /** Returns the task's id. */
    public function id(): string;

    /**
     * Returns Celery's word for the state: PENDING, STARTED, RETRY, SUCCESS, FAILURE, REVOKED, or a
     * custom state.
     */
    public function status(): string;

    /** Returns true if the task has ended, with or without success. */
    public function ready(): bool;

    /** Returns true if the task has succeeded. False while it has not ended. */
    public function successful(): bool;

    /** Returns true if the task has failed. False while it has not ended. */
    public function failed(): bool;

    /**
     * Returns what the task has reported with its present state, such as the meta of PROGRESS.
     * Null if it has reported nothing, or has ended.
     */
    public function progress(): mixed;

    /**
     * Waits until the task has ended and returns its value. Objects come as stdClass.
     *
     * @param  float|null  $timeout  seconds; 0 asks once; null: the INI setting
     * celery.result_timeout
     *
     * @throws \CeleryBridge\Exceptions\ResultTimedOut  it has not ended in time
     * @throws \CeleryBridge\Exceptions\TaskFailed  it failed or was revoked
     */
    public function get(?float $timeout = null): mixed;

    /** Returns the worker's traceback of a task that failed or is being retried. */
    public function traceback(): ?string;

    /** Deletes the stored result. */
    public function forget(): void;

    /** Tells the running workers not to run the task. A task that is already running continues. */
    public function revoke(): void;
}
