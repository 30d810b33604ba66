<?php

declare(strict_types=1);

namespace CeleryBridge\Console;

use CeleryBridge\Config\ConnectionSettings;
use CeleryBridge\Contracts\Factory;
use CeleryBridge\History\Minutes;
use CeleryBridge\History\QueueLengths;
use CeleryBridge\History\Recorder;
use CeleryBridge\Outcomes\Listener;
use CeleryBridge\Outcomes\ListenerHeartbeat;
use CeleryBridge\Outcomes\Settlement;
use CeleryBridge\Outcomes\TrackedJobs;
use CeleryBridge\TaskMessage;
use CeleryBridge\Transport\ExtensionTransport;
use Illuminate\Console\Command;
use Illuminate\Contracts\Debug\ExceptionHandler;
use Throwable;

/**
 * Brings the ends of jobs on Celery workers into Laravel: `failed()`, `failed_jobs`, and events. It
 * goes on through outages of the broker and the database, until it gets SIGTERM or SIGINT, or until
 * `queue:restart` is called.
 */
final class ListenCommand extends Command
{
    use SpeaksInComponents;

    /** The longest pause after a failure, in microseconds. */
    private const LONGEST_PAUSE = 5_000_000;

    /** @var string */
    protected $signature = 'celery:listen
        {--connection= : A connection of config/celery.php}
        {--interval=10 : Seconds between two readings of stored results}
        {--keep=7 : Days that the rows of ended jobs and of the history stay}
        {--once : Read the stored results once, and end}';

    /** @var string */
    protected $description = 'Bring the outcomes of jobs on Celery into Laravel, and write the history of the dashboard';

    private bool $ends = false;

    /** @var array{mixed}|null when `queue:restart` was called last; null until the cache has said it */
    private ?array $restarted = null;

    public function handle(Factory $celery, TrackedJobs $jobs): int
    {
        $interval = (float) $this->option('interval');
        $keep = $this->option('keep');
        if ($interval <= 0 || ! is_numeric($keep) || $keep < 0) {
            $this->complain('--interval must be a number of seconds above 0, and --keep a number of days');

            return self::FAILURE;
        }

        try {
            if (! $jobs->exist()) {
                $this->complain('The table '.TrackedJobs::TABLE.' does not exist, or the database cannot be reached. '
                    .'`php artisan migrate` creates it.');

                return self::FAILURE;
            }
            $settings = $celery->settings($this->option('connection'));
            $transport = new ExtensionTransport($settings);
            $transport->ensureUsable();
            if ($settings->hasOwnResultsOnly()) {
                $this->complain('Results are replies over RabbitMQ, which only the process that posted a task can read. Name a '
                    .'Redis as result_backend, for the workers too, or set celery.reply_queue = task in php.ini.');

                return self::FAILURE;
            }
            $heartbeat = new ListenerHeartbeat($this->laravel->make('cache')->store(), $settings->name);
            $settlement = new Settlement($this->laravel);
            $recorder = $this->recorder($settings, (float) $keep * 86_400);
            $listener = new Listener(
                $transport->client(...),
                $settings->name,
                $jobs,
                $settlement,
                $interval,
                (float) $keep * 86_400,
                static fn (TaskMessage $task): array => $celery->connection($settings->name)->postMany([$task]),
                60.0 + (float) $settings->timeout,
                $recorder,
            );

            if ($this->option('once')) {
                $listener->read();
                $settlement->storeRecords();
                $heartbeat->beat();

                return self::SUCCESS;
            }
        } catch (Throwable $e) {
            $this->complain($e->getMessage());

            return self::FAILURE;
        }

        $this->obeySignals();
        $this->inform("Listening to the outcomes of [{$settings->name}]");
        $failures = 0;
        $this->restarted = null;
        while (! $this->ends) {
            if ($this->isToRestart()) {
                $this->inform('`queue:restart` was called');
                break;
            }
            try {
                $listener->turn();
                $settlement->storeRecords();
                $heartbeat->beat();
                $failures = 0;
            } catch (Throwable $e) {
                $listener->reset();
                $this->laravel->make(ExceptionHandler::class)->report($e);
                $longest = min(self::LONGEST_PAUSE, 100_000 * 2 ** min($failures++, 10));
                usleep(random_int(intdiv($longest, 2), $longest));
            }
        }

        try {
            $recorder?->stop();
        } catch (Throwable $e) {
            $this->laravel->make(ExceptionHandler::class)->report($e);
        }

        return self::SUCCESS;
    }

    /** Returns what writes the history, if its table exists. */
    private function recorder(ConnectionSettings $settings, float $keep): ?Recorder
    {
        $minutes = $this->laravel->make(Minutes::class);
        if (! $minutes->exist()) {
            return null;
        }
        $lengths = new QueueLengths($settings, $this->laravel->make('config'));

        return new Recorder($minutes, $settings->name, $lengths->read(...), $keep, min(10.0, (float) $this->option('interval')));
    }

    /** Returns true if `queue:restart` was called since the first look, as Laravel's workers see it. */
    private function isToRestart(): bool
    {
        try {
            $last = [$this->laravel->make('cache')->store()->get('illuminate:queue:restart')];
        } catch (Throwable) {
            // A cache that cannot be asked must not end the listener.
            return false;
        }
        $this->restarted ??= $last;

        return $this->restarted !== $last;
    }

    private function obeySignals(): void
    {
        if (! function_exists('pcntl_async_signals')) {
            return;
        }
        pcntl_async_signals(true);
        foreach ([SIGTERM, SIGINT] as $signal) {
            pcntl_signal($signal, function (): void {
                $this->ends = true;
            });
        }
    }
}
