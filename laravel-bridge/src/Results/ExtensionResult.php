<?php

declare(strict_types=1);

namespace CeleryBridge\Results;

use CeleryBridge\Contracts\Result;
use CeleryBridge\Exceptions\ResultTimedOut;
use CeleryBridge\Exceptions\TaskFailed;
use CeleryBridge\Transport\ExtensionTransport;
use CeleryTimeoutException;

/**
 * A result read through the extension. It holds no connection, because its task may be posted much
 * later, or never. Once the task has ended, the result is not read again.
 */
final class ExtensionResult implements Result
{
    /** Celery's final states. */
    private const FINAL = ['SUCCESS', 'FAILURE', 'REVOKED'];

    /** @var array<string, mixed>|null the document of a task that has ended */
    private ?array $final = null;

    public function __construct(
        private readonly ExtensionTransport $transport,
        private readonly string $id,
        private readonly ?string $task = null,
    ) {
    }

    public function id(): string
    {
        return $this->id;
    }

    public function status(): string
    {
        return (string) ($this->document()['status'] ?? 'PENDING');
    }

    public function ready(): bool
    {
        return in_array($this->status(), self::FINAL, true);
    }

    public function successful(): bool
    {
        return $this->status() === 'SUCCESS';
    }

    public function failed(): bool
    {
        return $this->status() === 'FAILURE';
    }

    public function progress(): mixed
    {
        $document = $this->document();

        return $this->final === null ? $document['result'] ?? null : null;
    }

    public function get(?float $timeout = null): mixed
    {
        $document = $this->final ?? $this->awaitDocument($timeout);

        if ($document['status'] !== 'SUCCESS') {
            throw TaskFailed::fromStored(
                $this->id,
                (string) $document['status'],
                $document['result'] ?? null,
                isset($document['traceback']) ? (string) $document['traceback'] : null,
            );
        }

        return $document['result'] ?? null;
    }

    public function traceback(): ?string
    {
        $traceback = $this->document()['traceback'] ?? null;

        return is_string($traceback) ? $traceback : null;
    }

    public function forget(): void
    {
        $this->transport->forget($this->id);
        $this->final = null;
    }

    public function revoke(): void
    {
        $this->transport->revoke($this->id);
    }

    /**
     * @return array<string, mixed>
     */
    private function awaitDocument(?float $timeout): array
    {
        try {
            $this->transport->await($this->id, $this->task, $timeout);
        } catch (CeleryTimeoutException $e) {
            throw new ResultTimedOut($this->id, $timeout, $e);
        }

        $this->document();

        // The task had ended a moment ago, but its result is gone now.
        return $this->final ?? throw new ResultTimedOut($this->id, $timeout);
    }

    /**
     * @return array<string, mixed>
     */
    private function document(): array
    {
        if ($this->final !== null) {
            return $this->final;
        }

        $document = $this->transport->stored($this->id) ?? [];
        if (in_array($document['status'] ?? null, self::FINAL, true)) {
            $this->final = $document;
        }

        return $document;
    }
}
