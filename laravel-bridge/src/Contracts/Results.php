<?php

declare(strict_types=1);

namespace CeleryBridge\Contracts;

use Countable;
use IteratorAggregate;

/**
 * The results of several tasks, under the keys that the tasks had. Reading does not delete them.
 *
 * Questions about all of them take one request, whatever their number.
 *
 * @extends IteratorAggregate<array-key, Result>
 */
interface Results extends Countable, IteratorAggregate
{
    /** Returns the id of the group; null if the results belong to no group. */
    public function id(): ?string;

    /**
     * @return array<array-key, Result>
     */
    public function all(): array;

    /** Returns true if all have ended, with or without success. */
    public function ready(): bool;

    /** Returns true if all have succeeded. */
    public function successful(): bool;

    /** Returns true if one has ended without success. */
    public function failed(): bool;

    /** Returns how many have ended, with or without success. */
    public function endedCount(): int;

    /**
     * Waits until all have ended, and returns their values. Throws as soon as one has failed.
     *
     * @param  float|null  $timeout  seconds for all together; 0 asks once; null: the INI setting
     * celery.result_timeout
     * @return array<array-key, mixed>
     *
     * @throws \CeleryBridge\Exceptions\ResultTimedOut  one has not ended in time
     * @throws \CeleryBridge\Exceptions\TaskFailed  one failed or was revoked
     */
    public function get(?float $timeout = null): array;

    /** Deletes the stored results. */
    public function forget(): void;

    /** Tells the running workers not to run the tasks. */
    public function revoke(): void;
}
