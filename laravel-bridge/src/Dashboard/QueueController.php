<?php

declare(strict_types=1);

namespace CeleryBridge\Dashboard;

use Celery\WaitingTask;
use CeleryBridge\Config\ConnectionSettings;
use CeleryBridge\Transport\ExtensionTransport;
use DateTimeInterface;
use Illuminate\Http\JsonResponse;
use Illuminate\Http\Request;
use Illuminate\Http\Response;
use Throwable;

/**
 * The page of one queue: the tasks that wait in it and that no worker has taken.
 */
final class QueueController
{
    /** The messages that are read to count tasks by name. */
    private const READ = 200;

    /** The tasks that are listed. */
    private const LISTED = 50;

    public function __construct(
        private readonly Chosen $chosen,
        private readonly Answers $answers,
        private readonly SharedAnswers $shared,
    ) {
    }

    public function __invoke(Request $request): Response|JsonResponse
    {
        $settings = $this->chosen->settings($request);
        $queue = $request->query('queue');
        abort_unless(is_string($queue) && preg_match('/^[^\x00-\x1f]{1,191}$/D', $queue) === 1, 404);
        $key = "queue:{$settings->name}:".hash('sha256', $queue);

        return $this->answers->page('queue', 'overview', $request, $settings, ['queue' => $queue]
            + $this->shared->get($key, static fn (): array => self::read($settings, $queue)));
    }

    /**
     * @return array{error: ?string, length: int, read: int, names: array<string, int>, tasks: list<array<string, mixed>>}
     */
    private static function read(ConnectionSettings $settings, string $queue): array
    {
        $length = 0;
        try {
            $client = (new ExtensionTransport($settings))->client();
            $length = array_sum($client->queueLengths($queue));
            $tasks = $client->waitingTasks($queue, self::READ);
        } catch (Throwable $e) {
            // A RabbitMQ says how many tasks wait, but not which.
            return ['error' => $e->getMessage(), 'length' => $length, 'read' => 0, 'names' => [], 'tasks' => []];
        }
        $names = array_count_values(array_map(static fn (WaitingTask $task): string => $task->task ?? 'unreadable', $tasks));
        arsort($names);

        return [
            'error' => null,
            // Workers may have taken some in between.
            'length' => max($length, count($tasks)),
            'read' => count($tasks),
            'names' => $names,
            'tasks' => array_map(self::line(...), array_slice($tasks, 0, self::LISTED)),
        ];
    }

    /**
     * @return array{id: ?string, task: ?string, arguments: string, eta: ?string, priority: int, size: int}
     */
    private static function line(WaitingTask $task): array
    {
        return [
            'id' => $task->id,
            'task' => $task->task,
            'arguments' => Arguments::show($task->argsrepr ?? '', $task->kwargsrepr ?? ''),
            'eta' => $task->eta?->format(DateTimeInterface::ATOM),
            'priority' => $task->priority,
            'size' => $task->size,
        ];
    }
}
