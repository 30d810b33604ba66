<?php

namespace App\Jobs;

use CeleryAbstract;

/**
 * Sends tasks through the connection of config/celery.php.
 */
abstract class AbstractCeleryTaskJob implements ICeleryTaskJob
{
    private $client = null;

    private function getClient(): CeleryAbstract
    {
        return $this->client ??= app(CeleryAbstract::class);
    }

    protected function send($taskName, array $args = []): \AsyncResult
    {
        return $this->getClient()->PostTask($taskName, $args);
    }
}
