<?php

declare(strict_types=1);

namespace CeleryBridge\Jobs;

use CeleryBridge\Concerns\PostsCeleryTask;
use CeleryBridge\Contracts\ShouldRunOnCelery;
use Illuminate\Bus\Queueable;
use Illuminate\Foundation\Bus\Dispatchable;
use Illuminate\Queue\InteractsWithQueue;
use Illuminate\Queue\SerializesModels;

/**
 * A job that is a Celery task; a child adds only its name and arguments:
 *
 *     #[CeleryTask('task_created')]
 *     final class TaskCreated extends CeleryTaskJob
 *     {
 *         public function __construct(public readonly int $id) {}
 *     }
 *
 *     TaskCreated::dispatch($task->id);
 *
 * On the queue connection `celery` the dispatch posts the task; on any other, the PHP worker that
 * takes the job does.
 */
abstract class CeleryTaskJob implements ShouldRunOnCelery
{
    use Dispatchable;
    use InteractsWithQueue;
    use PostsCeleryTask;
    use Queueable;
    use SerializesModels;
}
