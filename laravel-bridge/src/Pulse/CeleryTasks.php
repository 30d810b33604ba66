<?php

declare(strict_types=1);

namespace CeleryBridge\Pulse;

use Illuminate\Contracts\Support\Renderable;
use Illuminate\Support\Facades\App;
use Illuminate\Support\Facades\View;
use Laravel\Pulse\Livewire\Card;
use Livewire\Attributes\Lazy;
use Livewire\Attributes\Locked;

/**
 * The card `<livewire:celery.tasks />` of Pulse: runs, failures and runtimes of tasks on Celery workers.
 */
#[Lazy]
class CeleryTasks extends Card
{
    /** The longest time, in seconds, for which an answer counts. */
    private const LONGEST = 120;

    /** A connection of config/celery.php; null: its default. A browser cannot change it. */
    #[Locked]
    public ?string $connection = null;

    public function render(): Renderable
    {
        // Every viewer asks each 5 seconds. The minutes of a week take longer than that to add up.
        $seconds = max(5, min(self::LONGEST, (int) $this->periodAsInterval()->totalHours));
        [$tasks, $time, $runAt] = $this->remember(
            fn ($period): ?array => App::make(TaskCounts::class)->of($this->connection, (int) $period->totalHours),
            (string) $this->connection,
            $seconds,
        );

        return View::make('celery-pulse::tasks', [
            'tasks' => $tasks,
            'time' => $time,
            'runAt' => $runAt,
            'span' => $this->periodForHumans(),
        ]);
    }
}
