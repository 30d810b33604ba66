<?php

declare(strict_types=1);

namespace CeleryBridge\History;

use CeleryBridge\Config\ConnectionSettings;
use CeleryBridge\Queue\ConfiguredQueues;
use CeleryBridge\Transport\ExtensionTransport;
use Illuminate\Contracts\Config\Repository;
use Throwable;

/**
 * The lengths of the queues that are configured, or that a worker consumes. A broker that cannot be
 * asked has none.
 */
final class QueueLengths
{
    /** Seconds between two questions to the workers. */
    private const PAUSE = 60.0;

    /** Seconds that one question waits. */
    private const PATIENCE = 1.0;

    /** @var list<string> */
    private array $consumed = [];

    private float $next = 0.0;

    public function __construct(private readonly ConnectionSettings $settings, private readonly Repository $config)
    {
    }

    /** @return array<array-key, int> by queue */
    public function read(): array
    {
        try {
            $client = (new ExtensionTransport($this->settings))->client();
            if (microtime(true) >= $this->next) {
                $this->next = microtime(true) + self::PAUSE;
                $queues = array_merge(...array_values($client->control()->inspect(timeout: self::PATIENCE)->activeQueues()));
                $this->consumed = array_map(strval(...), array_column($queues, 'name'));
            }

            return $client->queueLengths(...array_unique([...ConfiguredQueues::of($this->settings, $this->config), ...$this->consumed]));
        } catch (Throwable) {
            return [];
        }
    }
}
