<?php

namespace App\Providers;

use App\Services\LocalWorkers;
use App\Services\WorkService;
use Celery;
use Celery\Client;
use Illuminate\Support\ServiceProvider;

class WorkServiceProvider extends ServiceProvider
{
    public function register()
    {
        // The API for new code, on the connection of config/celery.php. Its tasks have a queue of their
        // own, because not every worker has them.
        $this->app->singleton(Client::class, fn () => Client::fromCelery(new Celery(
            config('celery.host'),
            config('celery.user'),
            config('celery.password'),
            config('celery.vhost'),
            config('celery.exchange'),
            config('celery.binding'),
            config('celery.port'),
            config('celery.connector'),
            config('celery.persistent_messages'),
            config('celery.result_expire'),
            config('celery.ssl_options')
        ))->with(queue: WorkService::QUEUE));
        $this->app->singleton(LocalWorkers::class, fn () => new LocalWorkers(config('demo.workers')));
    }
}
