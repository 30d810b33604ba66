<?php

declare(strict_types=1);

namespace CeleryBridge\Console\Queue;

use Illuminate\Queue\Console\ListenCommand as LaravelsListenCommand;

/**
 * `queue:listen`, which ends at once with the right command for a connection that Celery workers serve.
 */
final class ListenCommand extends LaravelsListenCommand
{
    use KnowsCeleryConnections;

    /**
     * @return int|null
     */
    public function handle()
    {
        $connection = $this->argument('connection');
        $queue = $this->celeryQueue($connection);

        return $queue === null ? parent::handle() : $this->refuse($queue->howToServe($this->getQueue(
            $connection ?: $this->laravel->make('config')->get('queue.default'),
        )));
    }
}
