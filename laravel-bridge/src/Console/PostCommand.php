<?php

declare(strict_types=1);

namespace CeleryBridge\Console;

use CeleryBridge\Contracts\Factory;
use Illuminate\Console\Command;
use InvalidArgumentException;
use Throwable;

/**
 * Posts one task from the command line.
 */
final class PostCommand extends Command
{
    use ShowsResults;

    /** @var string */
    protected $signature = 'celery:post
        {task : The task\'s name}
        {args?* : Positional arguments; each is read as JSON where it is JSON, else as text}
        {--kwargs= : Keyword arguments, as a JSON object (instead of positional ones)}
        {--connection= : A connection of config/celery.php}
        {--queue= : The queue}
        {--delay= : Run it only after this many seconds}
        {--id= : The task\'s id}
        {--wait= : Wait this many seconds for the result and show it}
        {--json : Answer with JSON}';

    /** @var string */
    protected $description = 'Post a Celery task';

    public function handle(Factory $celery): int
    {
        try {
            $result = $celery->connection($this->option('connection'))->post(
                (string) $this->argument('task'),
                $this->taskArguments(),
                $this->option('queue'),
                array_filter(
                    ['id' => $this->option('id'), 'delay' => $this->number('delay')],
                    static fn (mixed $value): bool => $value !== null,
                ),
            );
            $wait = $this->number('wait');

            if ($wait === null) {
                $this->answer(['id' => $result->id()], "Posted [{$result->id()}]");

                return self::SUCCESS;
            }

            return $this->showResult($result, $wait);
        } catch (Throwable $e) {
            return $this->fault($e);
        }
    }

    /**
     * @return array<array-key, mixed>
     */
    private function taskArguments(): array
    {
        $positional = array_map(static function (string $argument): mixed {
            $value = json_decode($argument);

            return json_last_error() === JSON_ERROR_NONE ? $value : $argument;
        }, (array) $this->argument('args'));

        if ($this->option('kwargs') === null) {
            return array_values($positional);
        }

        $keyword = json_decode((string) $this->option('kwargs'), true);
        if (! is_array($keyword) || ($keyword !== [] && array_is_list($keyword))) {
            throw new InvalidArgumentException('--kwargs must be a JSON object, such as {"x": 2}');
        }
        if ($positional !== []) {
            throw new InvalidArgumentException('a task is posted with positional arguments or with --kwargs, not both');
        }

        return $keyword;
    }
}
