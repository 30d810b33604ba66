<?php

declare(strict_types=1);

namespace CeleryBridge\Dashboard;

use Celery\DeadLetter;

/**
 * A dead letter as the pages and `celery:dead` show it.
 */
final class LetterView
{
    /**
     * @return array{place: string, id: ?string, task: ?string, queue: string, cause: string, worker: string, at: float, size: int, arguments: string}
     */
    public static function line(DeadLetter $letter): array
    {
        return [
            'place' => $letter->place,
            'id' => $letter->id,
            'task' => $letter->task,
            'queue' => $letter->queue,
            'cause' => $letter->cause,
            'worker' => $letter->worker,
            'at' => $letter->timestamp,
            'size' => $letter->size,
            'arguments' => Arguments::show($letter->argsrepr ?? '', $letter->kwargsrepr ?? ''),
        ];
    }
}
