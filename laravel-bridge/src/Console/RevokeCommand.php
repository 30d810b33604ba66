<?php

declare(strict_types=1);

namespace CeleryBridge\Console;

use CeleryBridge\Contracts\Factory;
use Illuminate\Console\Command;
use Throwable;

/**
 * Tells the workers not to run tasks.
 */
final class RevokeCommand extends Command
{
    use ShowsResults;

    /** @var string */
    protected $signature = 'celery:revoke
        {id* : The tasks\' ids}
        {--connection= : A connection of config/celery.php}
        {--json : Answer with JSON}';

    /** @var string */
    protected $description = 'Tell the Celery workers not to run tasks';

    public function handle(Factory $celery): int
    {
        try {
            $client = $celery->connection($this->option('connection'));
            $ids = (array) $this->argument('id');

            foreach ($ids as $id) {
                $client->revoke($id);
            }

            $this->answer(['revoked' => $ids], 'Revoked ['.implode(', ', $ids).'] at the running workers');

            return self::SUCCESS;
        } catch (Throwable $e) {
            return $this->fault($e);
        }
    }
}
