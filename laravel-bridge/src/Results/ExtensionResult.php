<?php

declare(strict_types=1);

namespace CeleryBridge\Results;

use AsyncResult;
use CeleryBridge\Contracts\Result;
use CeleryBridge\Exceptions\ResultTimedOut;
use CeleryBridge\Exceptions\TaskFailed;
use CeleryBridge\Transport\Extension;
use CeleryTimeoutException;
use Closure;

/**
 * A result read through the extension. Its object there is made on the first question, so that holding a result – of a
 * task not yet posted, without the extension – costs nothing.
 *
 * The extension deletes a final result that is read through its drop-in classes; every call here asks it to keep it.
 */
final class ExtensionResult implements Result
{
    private ?AsyncResult $result = null;

    /**
     * @param  array<string, float|null>  $settings  INI settings of every call
     * @param  Closure(): AsyncResult  $make
     */
    public function __construct(
        private readonly string $id,
        private readonly ?string $task,
        private readonly array $settings,
        private readonly Closure $make,
    ) {
    }

    public function id(): string
    {
        return $this->id;
    }

    /**
     * The task's name, where it is known: a result asked for by its id alone has none.
     */
    public function task(): ?string
    {
        return $this->task;
    }

    public function status(): string
    {
        return $this->ask(static fn (AsyncResult $result): string => (string) $result->state);
    }

    public function ready(): bool
    {
        return $this->ask(static fn (AsyncResult $result): bool => (bool) $result->isReady());
    }

    public function successful(): bool
    {
        return $this->ask(static fn (AsyncResult $result): bool => $result->isReady() && $result->isSuccess());
    }

    public function failed(): bool
    {
        return $this->ask(static fn (AsyncResult $result): bool => $result->isReady() && $result->getStatus() === 'FAILURE');
    }

    public function get(?float $timeout = null): mixed
    {
        return $this->ask(function (AsyncResult $result) use ($timeout): mixed {
            try {
                $value = $result->get($timeout, false);
            } catch (CeleryTimeoutException $e) {
                throw new ResultTimedOut($this->id, $timeout, $e);
            }

            if (! $result->isSuccess()) {
                throw TaskFailed::fromStored($this->id, (string) $result->getStatus(), $value, $result->getTraceback());
            }

            return $value;
        });
    }

    public function traceback(): ?string
    {
        return $this->ask(static fn (AsyncResult $result): ?string => $result->isReady() ? $result->getTraceback() : null);
    }

    public function forget(): void
    {
        $this->ask(static fn (AsyncResult $result) => $result->forget());
    }

    public function revoke(bool $terminate = false): void
    {
        $this->ask(static fn (AsyncResult $result) => $result->revoke($terminate));
    }

    /**
     * @template T
     *
     * @param  Closure(AsyncResult): T  $question
     * @return T
     */
    private function ask(Closure $question): mixed
    {
        return Extension::with(
            ['celery.keep_results' => 1] + $this->settings,
            fn () => $question($this->result ??= ($this->make)()),
        );
    }
}
