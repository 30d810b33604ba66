<?php

declare(strict_types=1);

namespace CeleryBridge\Queue;

/**
 * The settings of one job, as this version of Laravel reads them from properties, methods and
 * attributes. A plain value.
 */
final class JobSettings
{
    /**
     * @param  string|null  $backoff  seconds, separated by commas
     * @param  int|null  $retryUntil  a Unix time
     * @param  list<mixed>  $middleware
     */
    public function __construct(
        public readonly ?int $tries,
        public readonly ?string $backoff,
        public readonly ?int $timeout,
        public readonly bool $failOnTimeout,
        public readonly ?int $maxExceptions,
        public readonly ?int $retryUntil,
        public readonly int $uniqueFor,
        public readonly bool $isDebounced,
        public readonly bool $isEncrypted,
        public readonly array $middleware,
    ) {
    }
}
