<?php

namespace App\Providers;

use App\Services\LocalWorkers;
use App\Services\WorkService;
use Celery;
use Celery\Client;
use CeleryAbstract;
use CeleryAdvanced;
use Illuminate\Contracts\Foundation\Application;
use Illuminate\Support\ServiceProvider;

class WorkServiceProvider extends ServiceProvider
{
    public function register()
    {
        if (config('celery.post_timeout') !== null) {
            ini_set('celery.post_timeout', (string) config('celery.post_timeout'));
        }
        $this->app->singleton(CeleryAbstract::class, fn () => $this->celery());
        // The API for new code, on the same connection. Its tasks have a queue of their own, because
        // not every worker has them.
        $this->app->singleton(Client::class, fn (Application $app) => Client::fromCelery(
            $app->make(CeleryAbstract::class)
        )->with(queue: WorkService::QUEUE));
        $this->app->singleton(LocalWorkers::class, fn () => new LocalWorkers(config('demo.workers')));
    }

    /**
     * Returns celery-php's client: `Celery`, or `CeleryAdvanced` if another server keeps the results.
     */
    private function celery(): CeleryAbstract
    {
        $arguments = [
            'host' => config('celery.host'),
            'login' => config('celery.user'),
            'password' => config('celery.password'),
            'vhost' => config('celery.vhost'),
            'exchange' => config('celery.exchange'),
            'binding' => config('celery.binding'),
            'port' => config('celery.port'),
            'connector' => config('celery.connector'),
            'persistent_messages' => config('celery.persistent_messages'),
            'result_expire' => config('celery.result_expire'),
            'ssl_options' => config('celery.ssl_options'),
        ];
        $results = config('celery.result_backend');

        return $results === null
            ? new Celery(...array_values($arguments))
            : new CeleryAdvanced($arguments, ['host' => $results, 'connector' => 'redis']);
    }
}
