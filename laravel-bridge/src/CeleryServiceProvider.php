<?php

declare(strict_types=1);

namespace CeleryBridge;

use CeleryBridge\Config\ConnectionSettings;
use CeleryBridge\Config\FlatConfig;
use CeleryBridge\Console\DeadCommand;
use CeleryBridge\Console\DoctorCommand;
use CeleryBridge\Console\InspectCommand;
use CeleryBridge\Console\InstallCommand;
use CeleryBridge\Console\ListenCommand as ListenToOutcomes;
use CeleryBridge\Console\MakeJobCommand;
use CeleryBridge\Console\PostCommand;
use CeleryBridge\Console\PurgeCommand;
use CeleryBridge\Console\ResultCommand;
use CeleryBridge\Console\RevokeCommand;
use CeleryBridge\Console\StatusCommand;
use CeleryBridge\Contracts\Client;
use CeleryBridge\Contracts\Factory;
use CeleryBridge\Dashboard\Dashboard;
use CeleryBridge\Exceptions\ServedByCelery;
use CeleryBridge\History\Minutes;
use CeleryBridge\History\RecentTasks;
use CeleryBridge\Outcomes\TrackedJobs;
use CeleryBridge\Pulse\CeleryTasks;
use CeleryBridge\Queue\CeleryConnector;
use CeleryBridge\Queue\CeleryQueue;
use CeleryBridge\Queue\InheritedQueues;
use CeleryBridge\Transport\Extension;
use Illuminate\Contracts\Config\Repository;
use Illuminate\Contracts\Container\Container;
use Illuminate\Contracts\Foundation\CachesConfiguration;
use Illuminate\Foundation\Console\AboutCommand;
use Illuminate\Queue\Console\ListenCommand;
use Illuminate\Queue\Console\PauseCommand;
use Illuminate\Queue\Console\WorkCommand;
use Illuminate\Queue\Events\Looping;
use Illuminate\Support\ServiceProvider;
use Laravel\Octane\Events\RequestReceived;
use Laravel\Octane\Events\TaskReceived;
use Laravel\Octane\Events\TickReceived;
use Laravel\Pulse\Livewire\Card;
use Throwable;

/**
 * Registers the package. That needs no extension and opens no connection; the first use of a client
 * does.
 */
final class CeleryServiceProvider extends ServiceProvider
{
    private const CONFIG = __DIR__.'/../config/celery.php';

    private const MIGRATIONS = __DIR__.'/../database/migrations';

    private const VIEWS = __DIR__.'/../resources/views';

    private const PULSE = __DIR__.'/../resources/pulse';

    private const ROUTES = __DIR__.'/../routes/dashboard.php';

    private ?TrackedJobs $trackedJobs = null;

    public function register(): void
    {
        $this->registerConfig();

        $this->app->singleton(Factory::class, static fn (Container $app): CeleryManager => new CeleryManager($app));
        $this->app->alias(Factory::class, CeleryManager::class);
        // One object for the process, also where each request has a container of its own.
        $this->app->singleton(TrackedJobs::class, fn (): TrackedJobs => $this->trackedJobs ??= new TrackedJobs($this->app, $this->config()));
        $this->app->singleton(RecentTasks::class, static fn (Container $app): RecentTasks => new RecentTasks($app));
        $this->app->singleton(Minutes::class, static fn (Container $app): Minutes => new Minutes($app, $app->make(RecentTasks::class)));
        $this->app->bind(Client::class, static fn (Container $app): Client => $app->make(Factory::class)->connection());

        $this->callAfterResolving('queue', static function ($queues): void {
            $queues->addConnector('celery', static fn (): CeleryConnector => new CeleryConnector());
        });
    }

    public function boot(): void
    {
        // The configuration is read again, because an application may set its keys in its own
        // provider.
        $config = $this->config();
        $config->set('celery', FlatConfig::complete((array) $config->get('celery', [])));

        if (! $this->configurationIsCached()) {
            // A cached configuration has these names already.
            $this->app->booted(fn () => InheritedQueues::fillIn($this->config()));
        }

        if (Dashboard::isEnabled($config)) {
            $this->loadViewsFrom(self::VIEWS, 'celery');
            $this->loadRoutesFrom(self::ROUTES);
        }

        if (class_exists(Card::class)) {
            // A folder of its own: without Pulse, `view:cache` could not compile what is in it.
            $this->loadViewsFrom(self::PULSE, 'celery-pulse');
            $this->callAfterResolving('livewire', static fn ($livewire) => $livewire->component('celery.tasks', CeleryTasks::class));
        }

        // Under Octane, a request may have a configuration of its own, which no other request may get.
        $this->app->make('events')->listen(
            [RequestReceived::class, TaskReceived::class, TickReceived::class],
            static fn (object $event) => $event->sandbox->forgetInstance(Factory::class),
        );

        if ($this->app->runningInConsole()) {
            $this->publishes([self::CONFIG => $this->app->configPath('celery.php')], 'celery-config');

            $this->adaptQueueCommands();
            $this->commands([
                DeadCommand::class, DoctorCommand::class, InspectCommand::class, InstallCommand::class, ListenToOutcomes::class,
                MakeJobCommand::class, PostCommand::class, PurgeCommand::class, ResultCommand::class, RevokeCommand::class, StatusCommand::class,
            ]);
            $this->loadMigrationsFrom(self::MIGRATIONS);
        }

        if (class_exists(AboutCommand::class)) {
            AboutCommand::add('Celery', fn (): array => $this->about());
        }
    }

    /**
     * Adds the missing values to the application's file. `mergeConfigFrom()` would put the
     * package's connections beside the values of a flat file.
     */
    private function registerConfig(): void
    {
        if ($this->configurationIsCached()) {
            return;
        }

        $config = $this->config();
        $own = (array) $config->get('celery', []);
        $package = require self::CONFIG;

        if (FlatConfig::isFlat($own)) {
            unset($package['connections']);
        }

        $config->set('celery', FlatConfig::complete($own + $package));

        if ($config->get('queue.connections.celery') === null) {
            $config->set('queue.connections.celery', ['driver' => 'celery']);
        }
    }

    /**
     * Lets Laravel's commands for queues explain themselves on connections that Celery serves. An
     * application's own commands stay as they are.
     */
    private function adaptQueueCommands(): void
    {
        $adapted = [
            WorkCommand::class => fn (): WorkCommand => new Console\Queue\WorkCommand(
                $this->app->make('queue.worker'),
                $this->app->make('cache.store'),
            ),
            ListenCommand::class => fn (): ListenCommand => new Console\Queue\ListenCommand(
                $this->app->make('queue.listener'),
            ),
            PauseCommand::class => static fn (): PauseCommand => new Console\Queue\PauseCommand(),
        ];
        // Their names in the container before Laravel 9.
        $names = [WorkCommand::class => 'command.queue.work', ListenCommand::class => 'command.queue.listen'];

        foreach ($adapted as $class => $make) {
            $adapt = static fn (object $command): object => get_class($command) === $class ? $make() : $command;
            $this->app->extend($class, $adapt);
            if (isset($names[$class])) {
                $this->app->extend($names[$class], $adapt);
            }
        }

        // The loops of other commands, such as Horizon's.
        $this->app->make('events')->listen(Looping::class, function (Looping $event): void {
            $queue = $this->app->make('queue')->connection($event->connectionName);
            if ($queue instanceof CeleryQueue) {
                throw new ServedByCelery($queue->howToServe($event->queue));
            }
        });
    }

    /**
     * @return array<string, string>
     */
    private function about(): array
    {
        $section = ['Extension' => Extension::version() ?? 'not loaded'];

        try {
            $settings = ConnectionSettings::fromRepository($this->config());
            $section += [
                'Connection' => $settings->name,
                'Broker' => $settings->broker->display(),
                'Result backend' => $settings->displayResults(),
                'Queue' => $settings->queue,
            ];
        } catch (Throwable $e) {
            $section['Connection'] = $e->getMessage();
        }

        return $section;
    }

    private function configurationIsCached(): bool
    {
        return $this->app instanceof CachesConfiguration && $this->app->configurationIsCached();
    }

    private function config(): Repository
    {
        return $this->app->make('config');
    }
}
