<?php

declare(strict_types=1);

namespace CeleryBridge;

use CeleryBridge\Config\ConnectionSettings;
use CeleryBridge\Config\FlatConfig;
use CeleryBridge\Console\DoctorCommand;
use CeleryBridge\Console\PostCommand;
use CeleryBridge\Console\ResultCommand;
use CeleryBridge\Console\RevokeCommand;
use CeleryBridge\Contracts\Client;
use CeleryBridge\Contracts\Factory;
use CeleryBridge\Queue\CeleryConnector;
use CeleryBridge\Transport\Extension;
use Illuminate\Contracts\Config\Repository;
use Illuminate\Contracts\Container\Container;
use Illuminate\Contracts\Foundation\CachesConfiguration;
use Illuminate\Foundation\Console\AboutCommand;
use Illuminate\Support\ServiceProvider;
use Throwable;

/**
 * Registers the package. That needs no extension and opens no connection; the first use of a client
 * does.
 */
final class CeleryServiceProvider extends ServiceProvider
{
    private const CONFIG = __DIR__.'/../config/celery.php';

    public function register(): void
    {
        $this->registerConfig();

        $this->app->singleton(Factory::class, static fn (Container $app): CeleryManager => new CeleryManager($app));
        $this->app->alias(Factory::class, CeleryManager::class);
        $this->app->bind(Client::class, static fn (Container $app): Client => $app->make(Factory::class)->connection());

        $this->callAfterResolving('queue', function ($queues): void {
            $queues->addConnector('celery', fn (): CeleryConnector => new CeleryConnector($this->app));
        });
    }

    public function boot(): void
    {
        // The configuration is read again, because an application may set its keys in its own
        // provider.
        $config = $this->config();
        $config->set('celery', FlatConfig::complete((array) $config->get('celery', [])));

        if ($this->app->runningInConsole()) {
            $this->publishes([self::CONFIG => $this->app->configPath('celery.php')], 'celery-config');

            $this->commands([PostCommand::class, ResultCommand::class, RevokeCommand::class, DoctorCommand::class]);
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
        if ($this->app instanceof CachesConfiguration && $this->app->configurationIsCached()) {
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
                'Result backend' => $settings->resultBackend?->display() ?? 'the broker',
                'Queue' => $settings->queue,
            ];
        } catch (Throwable $e) {
            $section['Connection'] = $e->getMessage();
        }

        return $section;
    }

    private function config(): Repository
    {
        return $this->app->make('config');
    }
}
