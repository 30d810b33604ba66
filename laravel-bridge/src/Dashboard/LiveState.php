<?php

declare(strict_types=1);

namespace CeleryBridge\Dashboard;

use Celery\Inspect;
use CeleryBridge\Config\ConnectionSettings;
use CeleryBridge\Queue\ConfiguredQueues;
use CeleryBridge\Transport\ExtensionTransport;
use Illuminate\Contracts\Config\Repository;
use Throwable;

/**
 * What the workers of one connection do now, and how long its queues are.
 *
 * @phpstan-type Task array{id: string, name: string, arguments: string, worker: string, since: ?float, eta: ?string}
 * @phpstan-type State array{at: float, error: ?string, queues_error: ?string, dead: ?int, workers: list<array{name: string, concurrency: ?int, done: int, uptime: ?int, queues: list<string>}>, running: list<Task>, waiting: list<Task>, queues: list<array{name: string, length: ?int, consumers: int}>}
 */
final class LiveState
{
    /** Seconds that one question waits for the workers. */
    private const PATIENCE = 1.0;

    /** The tasks of one list, at most. */
    public const TASKS = 200;

    public function __construct(private readonly SharedAnswers $shared, private readonly Repository $config)
    {
    }

    /**
     * @return State
     */
    public function of(ConnectionSettings $settings): array
    {
        return $this->shared->get("live:{$settings->name}", fn (): array => $this->ask($settings));
    }

    /**
     * Asks now. {@see LiveState::of()} shares one answer among viewers.
     *
     * @return State
     */
    public function ask(ConnectionSettings $settings): array
    {
        $state = [
            'error' => null, 'queues_error' => null, 'dead' => null,
            'workers' => [], 'running' => [], 'waiting' => [], 'queues' => [],
        ];
        try {
            $inspect = (new ExtensionTransport($settings))->client()->control()->inspect(timeout: self::PATIENCE);
            $state = $this->workers($inspect) + $state;
        } catch (Throwable $e) {
            $state['error'] = $e->getMessage();
        }

        $consumers = array_count_values(array_merge(...array_column($state['workers'], 'queues')));
        $names = array_unique([...ConfiguredQueues::of($settings, $this->config), ...array_map(strval(...), array_keys($consumers))]);
        sort($names);
        $lengths = [];
        try {
            $lengths = (new ExtensionTransport($settings))->client()->queueLengths(...$names);
        } catch (Throwable $e) {
            $state['queues_error'] = $e->getMessage();
        }
        foreach ($names as $name) {
            $state['queues'][] = ['name' => $name, 'length' => $lengths[$name] ?? null, 'consumers' => $consumers[$name] ?? 0];
        }
        $state['dead'] = $this->deadLetters($settings);

        return $state;
    }

    /** Returns the number of dead letters; null if it cannot be read. */
    private function deadLetters(ConnectionSettings $settings): ?int
    {
        try {
            return count((new ExtensionTransport($settings))->client()->deadLetters());
        } catch (Throwable) {
            return null;
        }
    }

    /**
     * @return array{workers?: list<mixed>, running?: list<Task>, waiting?: list<Task>}
     */
    private function workers(Inspect $inspect): array
    {
        $stats = $inspect->stats();
        if ($stats === []) {
            return [];
        }
        $queues = $inspect->activeQueues();
        $running = $waiting = $workers = [];
        foreach ($inspect->active() as $worker => $requests) {
            foreach ($requests as $request) {
                $running[] = self::task((array) $request, (string) $worker);
            }
        }
        foreach ($inspect->reserved() as $worker => $requests) {
            foreach ($requests as $request) {
                $waiting[] = self::task((array) $request, (string) $worker);
            }
        }
        foreach ($inspect->scheduled() as $worker => $entries) {
            foreach ($entries as $entry) {
                $waiting[] = self::task((array) $entry['request'], (string) $worker, (string) $entry['eta']);
            }
        }
        ksort($stats);
        foreach ($stats as $name => $stat) {
            $stat = (array) json_decode((string) json_encode($stat), true);
            $workers[] = [
                'name' => (string) $name,
                'concurrency' => isset($stat['pool']['max-concurrency']) ? (int) $stat['pool']['max-concurrency'] : null,
                'done' => (int) array_sum((array) ($stat['total'] ?? [])),
                'uptime' => isset($stat['uptime']) ? (int) $stat['uptime'] : null,
                'queues' => array_map(strval(...), array_column($queues[$name] ?? [], 'name')),
            ];
        }

        // A worker lists a task that it runs among the reserved ones, too.
        $waiting = array_diff_key(array_column($waiting, null, 'id'), array_column($running, null, 'id'));

        return [
            'workers' => $workers,
            'running' => array_slice($running, 0, self::TASKS),
            'waiting' => array_slice(array_values($waiting), 0, self::TASKS),
        ];
    }

    /**
     * @param  array<string, mixed>  $request
     * @return Task
     */
    private static function task(array $request, string $worker, ?string $eta = null): array
    {
        return [
            'id' => (string) ($request['id'] ?? ''),
            'name' => (string) ($request['name'] ?? ''),
            'arguments' => Arguments::show($request['args'] ?? [], $request['kwargs'] ?? []),
            'worker' => $worker,
            'since' => isset($request['time_start']) ? (float) $request['time_start'] : null,
            'eta' => $eta,
        ];
    }
}
