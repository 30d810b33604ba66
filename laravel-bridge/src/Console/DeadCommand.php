<?php

declare(strict_types=1);

namespace CeleryBridge\Console;

use CeleryBridge\Contracts\Factory;
use CeleryBridge\Dashboard\LetterView;
use CeleryBridge\DeadLetters\Replays;
use CeleryBridge\Transport\ExtensionTransport;
use Illuminate\Console\Command;
use InvalidArgumentException;
use Throwable;

/**
 * Lists the messages that Rust workers could not run, and puts them back into their queues. It is
 * for the application what `celery-worker dead` is for the host of a worker.
 */
final class DeadCommand extends Command
{
    use ShowsResults;

    /** The longest list. */
    private const MOST = 1000;

    /** @var string */
    protected $signature = 'celery:dead
        {--replay=* : Put the message of the dead letter at this place back into its queue}
        {--limit=50 : The length of the list, at most 1000}
        {--connection= : A connection of config/celery.php}
        {--json : Answer with JSON}';

    /** @var string */
    protected $description = 'List the messages that Celery workers could not run, or put them back into their queues';

    public function handle(Factory $celery): int
    {
        try {
            $letters = (new ExtensionTransport($celery->settings($this->option('connection'))))->client()->deadLetters();
            $places = array_map(strval(...), (array) $this->option('replay'));
            if ($places !== []) {
                return $this->replay(new Replays($letters), $places);
            }
            $limit = filter_var($this->option('limit'), FILTER_VALIDATE_INT);
            if ($limit === false || $limit < 1 || $limit > self::MOST) {
                throw new InvalidArgumentException('--limit must be a number from 1 to '.self::MOST);
            }
            $total = count($letters);
            $this->list(array_map(LetterView::line(...), $letters->newest($limit)), $total);

            return self::SUCCESS;
        } catch (Throwable $e) {
            return $this->fault($e);
        }
    }

    /**
     * @param  list<string>  $places
     */
    private function replay(Replays $replays, array $places): int
    {
        $replays->replay($places);
        if ($this->option('json')) {
            $this->line($this->json(['replayed' => $replays->done, 'gone' => $replays->gone, 'refused' => (object) $replays->refused]));
        } elseif ($replays->areAllDone()) {
            $this->inform($replays->summary());
        } else {
            $this->complain($replays->summary());
        }

        return $replays->areAllDone() ? self::SUCCESS : self::FAILURE;
    }

    /**
     * @param  list<array<string, mixed>>  $lines
     */
    private function list(array $lines, int $total): void
    {
        if ($this->option('json')) {
            $this->line($this->json(['total' => $total, 'letters' => $lines]));

            return;
        }
        if ($lines === []) {
            $this->inform('No dead letters');

            return;
        }
        $this->table(['Place', 'Queue', 'Task', 'Id', 'Cause', 'When (UTC)', 'Bytes'], array_map(static fn (array $line): array => [
            $line['place'],
            self::printable($line['queue']),
            self::printable($line['task'] ?? ''),
            self::printable($line['id'] ?? ''),
            self::printable($line['cause']),
            gmdate('Y-m-d H:i:s', (int) $line['at']),
            $line['size'],
        ], $lines));
        $this->inform("{$total} in all. `php artisan celery:dead --replay=PLACE` puts one back");
    }
}
