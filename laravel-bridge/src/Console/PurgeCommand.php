<?php

declare(strict_types=1);

namespace CeleryBridge\Console;

use CeleryBridge\Contracts\Factory;
use CeleryBridge\Transport\ExtensionTransport;
use Illuminate\Console\Command;
use Throwable;

/**
 * Deletes the waiting tasks of queues. As `celery purge`, it asks first.
 */
final class PurgeCommand extends Command
{
    use ShowsResults;

    /** @var string */
    protected $signature = 'celery:purge
        {queues?* : The queues; default: the queue of the connection}
        {--force : Do not ask}
        {--connection= : A connection of config/celery.php}
        {--json : Answer with JSON}';

    /** @var string */
    protected $description = 'Delete the waiting tasks of Celery queues';

    public function handle(Factory $celery): int
    {
        try {
            $settings = $celery->settings($this->option('connection'));
            $queues = array_map(strval(...), (array) $this->argument('queues')) ?: [$settings->queue];
            $names = implode(', ', $queues);
            if (! $this->option('force') && ! $this->confirm("Delete all waiting tasks of {$names} at {$settings->broker->display()}?")) {
                $this->complain('Nothing was deleted. With --force, the command does not ask');

                return self::FAILURE;
            }
            $deleted = (new ExtensionTransport($settings))->client()->purge(...$queues);
            $this->answer(['deleted' => $deleted, 'queues' => $queues], "Deleted {$deleted} waiting tasks of {$names}. Tasks that workers hold stay");

            return self::SUCCESS;
        } catch (Throwable $e) {
            return $this->fault($e);
        }
    }
}
