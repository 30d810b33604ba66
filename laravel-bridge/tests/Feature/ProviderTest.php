<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use CeleryBridge\CeleryManager;
use CeleryBridge\CeleryServiceProvider;
use CeleryBridge\Contracts\Client;
use CeleryBridge\Contracts\Factory;
use CeleryBridge\Facades\Celery;
use CeleryBridge\Queue\CeleryQueue;
use CeleryBridge\Tests\Support\Sandbox;
use CeleryBridge\Tests\Support\TestCase;
use Illuminate\Container\Container;
use Illuminate\Contracts\Console\Kernel;
use Illuminate\Foundation\AliasLoader;
use Illuminate\Queue\QueueManager;
use Illuminate\Support\Facades\Facade;

final class ProviderTest extends TestCase
{
    public function test_package_discovery_registers_the_provider_and_no_alias(): void
    {
        $this->assertTrue($this->app->providerIsLoaded(CeleryServiceProvider::class));
        $this->assertArrayNotHasKey('Celery', AliasLoader::getInstance()->getAliases());
    }

    public function test_the_contracts_resolve(): void
    {
        $this->assertInstanceOf(CeleryManager::class, $this->app->make(Factory::class));
        $this->assertSame($this->app->make(Factory::class), $this->app->make(CeleryManager::class));
        $this->assertSame('default', $this->app->make(Client::class)->name());
        $this->assertSame('default', Celery::connection()->name());
    }

    public function test_an_application_without_a_file_of_its_own_gets_the_defaults(): void
    {
        $settings = Celery::settings();

        $this->assertSame('redis://127.0.0.1:6379/0', $settings->broker->display());
        $this->assertSame('celery', $settings->queue);
        $this->assertNull($settings->resultBackend);
        $this->assertNull($settings->timeout);
        $this->assertTrue($settings->afterCommit);
    }

    public function test_the_configuration_can_be_published(): void
    {
        [$code] = $this->command('vendor:publish', ['--tag' => 'celery-config']);

        $this->assertSame(0, $code);
        $this->assertFileEquals(Sandbox::bridge('config/celery.php'), $this->sandbox->path.'/config/celery.php');
    }

    public function test_every_value_comes_from_the_environment_and_survives_config_cache(): void
    {
        $this->needExtension();
        $this->sandbox->write('.env', implode("\n", [
            'CELERY_BROKER_URL=rediss://worker:s3cret@broker.test:6390/4',
            'CELERY_RESULT_BACKEND=redis://results.test/2',
            'CELERY_QUEUE=ml',
            'CELERY_TIMEOUT=1.5',
            'CELERY_AFTER_COMMIT=false',
            'CELERY_SSL_CAFILE=/etc/ssl/broker.pem',
        ]));

        try {
            // The .env is read by a new application. Caching the configuration makes one more
            // application.
            $app = $this->sandbox->boot();
            $kernel = $app->make(Kernel::class);
            copy(__DIR__.'/../fixtures/app/bootstrap.php', $this->sandbox->path.'/bootstrap/app.php');
            $this->assertSame(0, $kernel->call('config:cache'), $kernel->output());
            $this->sandbox->write('.env', '');
            foreach (['BROKER_URL', 'RESULT_BACKEND', 'QUEUE', 'TIMEOUT', 'AFTER_COMMIT', 'SSL_CAFILE'] as $name) {
                unset($_ENV["CELERY_{$name}"], $_SERVER["CELERY_{$name}"]);
                putenv("CELERY_{$name}");
            }

            $cached = (new Sandbox([], $this->sandbox->path))->boot();
            $this->assertTrue($cached->configurationIsCached());
            $settings = $cached->make(CeleryManager::class)->settings();

            $this->assertSame('rediss://worker:***@broker.test:6390/4', $settings->broker->display());
            $this->assertSame(['cafile' => '/etc/ssl/broker.pem'], $settings->broker->ssl);
            $this->assertSame('redis://results.test:6379/2', $settings->resultBackend?->display());
            $this->assertSame('ml', $settings->queue);
            $this->assertSame(1.5, $settings->timeout);
            $this->assertFalse($settings->afterCommit);
        } finally {
            Container::setInstance($this->app);
            Facade::clearResolvedInstances();
            Facade::setFacadeApplication($this->app);
        }
    }

    public function test_the_queue_driver_needs_no_entry_in_the_queue_configuration(): void
    {
        $this->assertInstanceOf(
            CeleryQueue::class,
            $this->app->make(QueueManager::class)->connection('celery'),
        );
    }

    protected function config(): array
    {
        return ['queue' => ['default' => 'sync', 'connections' => ['sync' => ['driver' => 'sync']]]];
    }
}
