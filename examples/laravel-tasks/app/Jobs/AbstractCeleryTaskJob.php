<?php

namespace App\Jobs;

use Celery;

/**
 * Sends tasks through the connection of config/celery.php.
 */
abstract class AbstractCeleryTaskJob implements ICeleryTaskJob
{
    private $client = null;

    private function getClient(): Celery
    {
        return $this->client ??= new Celery(
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
        );
    }

    protected function send($taskName, array $args = []): \AsyncResult
    {
        return $this->getClient()->PostTask($taskName, $args);
    }
}
