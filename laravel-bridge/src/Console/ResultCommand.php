<?php

declare(strict_types=1);

namespace CeleryBridge\Console;

use CeleryBridge\Contracts\Factory;
use Illuminate\Console\Command;
use Throwable;

/**
 * Shows the state and the result of a task.
 */
final class ResultCommand extends Command
{
    use ShowsResults;

    /** @var string */
    protected $signature = 'celery:result
        {id : The task\'s id}
        {--connection= : A connection of config/celery.php}
        {--wait=0 : Wait this many seconds for the task to end}
        {--forget : Delete the stored result after showing it}
        {--json : Answer with JSON}';

    /** @var string */
    protected $description = 'Show the state and result of a Celery task';

    public function handle(Factory $celery): int
    {
        try {
            $result = $celery->connection($this->option('connection'))->result((string) $this->argument('id'));
            $code = $this->showResult($result, (float) $this->number('wait'));

            if ($this->option('forget') && $code !== self::NOT_ENDED) {
                $result->forget();
            }

            return $code;
        } catch (Throwable $e) {
            return $this->fault($e);
        }
    }
}
