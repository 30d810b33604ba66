<?php

declare(strict_types=1);

namespace CeleryBridge\Console;

use Celery\Inspect;
use CeleryBridge\Contracts\Factory;
use CeleryBridge\Transport\ExtensionTransport;
use Illuminate\Console\Command;
use InvalidArgumentException;
use Throwable;

/**
 * Asks the workers one of the questions of `celery inspect`.
 */
final class InspectCommand extends Command
{
    use ShowsResults;

    /** Celery's names of the questions, and the methods of the extension. */
    private const QUESTIONS = [
        'active' => 'active', 'active_queues' => 'activeQueues', 'clock' => 'clock', 'conf' => 'conf', 'ping' => 'ping',
        'registered' => 'registered', 'report' => 'report', 'reserved' => 'reserved', 'revoked' => 'revoked',
        'scheduled' => 'scheduled', 'stats' => 'stats',
    ];

    /** @var string */
    protected $signature = 'celery:inspect
        {question : active, active_queues, clock, conf, ping, registered, report, reserved, revoked, scheduled or stats}
        {--destination=* : Only these workers, by their names}
        {--timeout=1 : Seconds to wait for the answers}
        {--connection= : A connection of config/celery.php}
        {--json : Answer with JSON}';

    /** @var string */
    protected $description = 'Ask the Celery workers what they run, hold, know or consume';

    public function handle(Factory $celery): int
    {
        try {
            $question = (string) $this->argument('question');
            $method = self::QUESTIONS[$question] ?? throw new InvalidArgumentException(
                "The question \"{$question}\" is unknown. Ask one of: ".implode(', ', array_keys(self::QUESTIONS)),
            );
            $destination = array_map(strval(...), (array) $this->option('destination'));
            $inspect = (new ExtensionTransport($celery->settings($this->option('connection'))))->client()->control()->inspect(
                $destination === [] ? null : $destination,
                timeout: $this->number('timeout'),
            );
            assert($inspect instanceof Inspect);
            $answers = $inspect->{$method}();
        } catch (Throwable $e) {
            return $this->fault($e);
        }

        if ($this->option('json')) {
            $this->line($this->json((object) $answers));
        } else {
            foreach ($answers as $worker => $answer) {
                $this->line('<info>'.self::printable((string) $worker).'</info>');
                $this->line(self::printable($answer === [] ? 'nothing' : $this->json($answer, JSON_PRETTY_PRINT)));
            }
            if ($answers === []) {
                $this->complain('No worker answered. A worker with --without-control does not answer');
            }
        }

        return $answers === [] ? self::FAILURE : self::SUCCESS;
    }
}
