<?php

declare(strict_types=1);

namespace CeleryBridge\Console;

use CeleryBridge\Config\ConnectionSettings;
use CeleryBridge\Contracts\Factory;
use CeleryBridge\Exceptions\ExtensionNotLoaded;
use CeleryBridge\Outcomes\ListenerHeartbeat;
use CeleryBridge\Outcomes\TrackedJobs;
use CeleryBridge\Queue\ConfiguredQueues;
use CeleryBridge\Transport\Extension;
use CeleryBridge\Transport\ExtensionTransport;
use Illuminate\Console\Command;
use Illuminate\Contracts\Config\Repository;
use Illuminate\Queue\Failed\NullFailedJobProvider;
use Throwable;

/**
 * Checks the set-up from PHP to the broker. It changes nothing, shows no secret, and ends within
 * each connection's deadline even if every server is down.
 */
final class DoctorCommand extends Command
{
    use SpeaksInComponents;

    /** @var string */
    protected $signature = 'celery:doctor
        {--connection= : Only this connection of config/celery.php}
        {--json : Answer with JSON}';

    /** @var string */
    protected $description = 'Check the Celery extension, the configuration and the brokers';

    /** @var list<array{check: string, ok: bool, detail: string}> */
    private array $checks = [];

    public function handle(Factory $celery, Repository $config): int
    {
        $this->checks = [];
        $this->note('PHP', true, PHP_VERSION.' '.PHP_SAPI.', Laravel '.$this->laravel->version());
        $this->note(
            'extension',
            Extension::loaded(),
            Extension::loaded() ? 'celery '.(Extension::version() ?? '') : ExtensionNotLoaded::make()->getMessage(),
        );

        $names = $this->connectionNames($config);
        foreach ($names as $name) {
            $this->examine($celery, $config, $name);
        }
        $this->examineOutcomes($names);

        $healthy = ! in_array(false, array_column($this->checks, 'ok'), true);

        if ($this->option('json')) {
            $this->line((string) json_encode(
                ['ok' => $healthy, 'checks' => $this->checks],
                JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES | JSON_INVALID_UTF8_SUBSTITUTE,
            ));
        } else {
            foreach ($this->checks as $check) {
                $this->report(self::printable($check['check']), $check['ok'], self::printable($check['detail']));
            }
        }

        return $healthy ? self::SUCCESS : self::FAILURE;
    }

    private function examine(Factory $celery, Repository $config, string $name): void
    {
        try {
            $settings = $celery->settings($name);
        } catch (Throwable $e) {
            $this->note("{$name}: configuration", false, $e->getMessage());

            return;
        }

        $this->note("{$name}: queue", true, $settings->queue);

        if (! Extension::loaded()) {
            $this->note("{$name}: broker", false, "{$settings->broker->display()}: not tried without the extension");

            return;
        }

        $transport = new ExtensionTransport($settings);
        $reached = $this->attempt("{$name}: broker", $settings->broker->display(), $transport->pingBroker(...));
        if ($reached) {
            $this->askWorkers($transport, $settings, $config);
            $this->countDeadLetters($transport, $name);
        }

        if ($settings->resultBackend !== null) {
            $this->attempt(
                "{$name}: result backend",
                $settings->resultBackend->display(),
                $transport->pingResultBackend(...),
            );
        }
    }

    /**
     * Says whether jobs are tracked, whether their failures can be stored, and whether a listener runs.
     *
     * @param  list<string>  $connections
     */
    private function examineOutcomes(array $connections): void
    {
        if (! $this->laravel->make(TrackedJobs::class)->areOn()) {
            $this->note('outcomes', true, 'jobs are not tracked: `php artisan migrate` creates the table '
                .TrackedJobs::TABLE.', for failed(), failed_jobs and events');

            return;
        }
        try {
            $failed = $this->laravel->make('queue.failer');
            $failed->find('celery-doctor');
            $this->note('outcomes', true, 'jobs are tracked'.($failed instanceof NullFailedJobProvider
                ? ', and failed jobs are not stored: queue.failed.driver is "null"' : ''));
        } catch (Throwable $e) {
            $this->note('outcomes', false, "failed jobs cannot be stored: {$e->getMessage()}. Their table is made by "
                .'`php artisan queue:failed-table` and `php artisan migrate`');
        }
        foreach ($connections as $name) {
            $isAlive = (new ListenerHeartbeat($this->laravel->make('cache')->store(), $name))->isAlive();
            // A cache that processes do not share hides a listener, so this does not fail the check.
            $this->note("{$name}: listener", true, $isAlive
                ? 'celery:listen runs'
                : '`php artisan celery:listen` was not seen in the last minutes. Without it, no outcome arrives');
        }
    }

    /** Returns true if the server answers. */
    private function attempt(string $check, string $address, callable $ping): bool
    {
        $begin = hrtime(true);

        try {
            $ping();
            $this->note($check, true, sprintf('%s answers in %.1f ms', $address, (hrtime(true) - $begin) / 1e6));

            return true;
        } catch (Throwable $e) {
            $this->note($check, false, "{$address}: {$e->getMessage()}");

            return false;
        }
    }

    /**
     * Asks the workers which queues they consume, and names those that none of them does.
     */
    private function askWorkers(ExtensionTransport $transport, ConnectionSettings $settings, Repository $config): void
    {
        try {
            $consumed = $transport->client()->control()->inspect()->activeQueues();
        } catch (Throwable $e) {
            $this->note("{$settings->name}: workers", false, $e->getMessage());

            return;
        }

        $nodes = array_keys($consumed);
        $this->note("{$settings->name}: workers", $nodes !== [], $nodes !== []
            ? count($nodes).' answered: '.implode(', ', $nodes)
            : 'none answered. Start one with `celery-worker -Q '.$settings->queue.'`. A worker with '
                .'--without-control does not answer');

        $served = array_column(array_merge(...array_values($consumed)), 'name');
        $unserved = array_diff(ConfiguredQueues::of($settings, $config), $served);
        if ($nodes !== []) {
            $this->note("{$settings->name}: consumers", $unserved === [], $unserved === []
                ? 'each configured queue has a worker'
                : 'no worker consumes the queue '.implode(', ', $unserved));
        }
    }

    /** Dead letters are not a fault of the set-up, so they do not fail the check. */
    private function countDeadLetters(ExtensionTransport $transport, string $name): void
    {
        try {
            $count = count($transport->client()->deadLetters());
            $this->note("{$name}: dead letters", true, $count === 0 ? 'none' : "{$count}; `php artisan celery:dead` lists them");
        } catch (Throwable $e) {
            $this->note("{$name}: dead letters", true, "not counted: {$e->getMessage()}");
        }
    }

    /**
     * @return list<string>
     */
    private function connectionNames(Repository $config): array
    {
        $only = $this->option('connection');

        if ($only !== null) {
            return [$only];
        }

        return ConfiguredQueues::connections($config);
    }

    private function note(string $check, bool $ok, string $detail): void
    {
        $this->checks[] = ['check' => $check, 'ok' => $ok, 'detail' => $detail];
    }
}
