<?php

declare(strict_types=1);

namespace CeleryBridge\Console;

use CeleryBridge\Contracts\Factory;
use CeleryBridge\Dashboard\LiveState;
use Illuminate\Console\Command;
use Throwable;

/**
 * Shows the workers that answer, and the queues of a connection: the first page of the dashboard, on a
 * terminal.
 */
final class StatusCommand extends Command
{
    use ShowsResults;

    /** @var string */
    protected $signature = 'celery:status
        {--connection= : A connection of config/celery.php}
        {--json : Answer with JSON}';

    /** @var string */
    protected $description = 'Show the Celery workers that answer, and the lengths of the queues';

    public function handle(Factory $celery, LiveState $live): int
    {
        try {
            $state = $live->ask($celery->settings($this->option('connection')));
        } catch (Throwable $e) {
            return $this->fault($e);
        }

        if ($this->option('json')) {
            $this->line($this->json($state));
        } else {
            $this->list($state);
        }

        return $state['workers'] === [] ? self::FAILURE : self::SUCCESS;
    }

    /**
     * @param  array<string, mixed>  $state
     */
    private function list(array $state): void
    {
        if ($state['workers'] !== []) {
            $running = array_count_values(array_column($state['running'], 'worker'));
            $this->table(['Worker', 'Queues', 'Concurrency', 'Running', 'Tasks received', 'Uptime'], array_map(static fn (array $worker): array => [
                self::printable($worker['name']),
                self::printable(implode(', ', $worker['queues'])),
                $worker['concurrency'] ?? '?',
                $running[$worker['name']] ?? 0,
                $worker['done'],
                $worker['uptime'] === null ? '?' : intdiv($worker['uptime'], 60).' min',
            ], $state['workers']));
        }
        $this->table(['Queue', 'Waiting', 'Workers'], array_map(static fn (array $queue): array => [
            self::printable($queue['name']),
            $queue['length'] ?? '?',
            $queue['consumers'],
        ], $state['queues']));

        foreach (array_filter([$state['error'], $state['queues_error']]) as $error) {
            $this->complain(self::printable($error));
        }
        if ($state['workers'] === [] && $state['error'] === null) {
            $this->complain('No worker answered. A worker with --without-control does not answer');
        }
        if ($state['dead'] > 0) {
            $this->inform("{$state['dead']} dead letters; `php artisan celery:dead` lists them");
        }
    }
}
