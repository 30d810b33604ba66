<?php

declare(strict_types=1);

namespace CeleryBridge\Pulse;

use CeleryBridge\Config\ConnectionSettings;
use CeleryBridge\History\Minutes;
use CeleryBridge\History\Series;
use Illuminate\Contracts\Config\Repository;

/**
 * What the card shows: the tasks of the last hours, from what `celery:listen` has counted. It needs no
 * Pulse.
 *
 * @phpstan-import-type Task from Series
 */
final class TaskCounts
{
    public function __construct(private readonly Minutes $minutes, private readonly Repository $config)
    {
    }

    /**
     * @param  string|null  $connection  a name in config/celery.php; null: its default
     * @return list<Task>|null those with most runs first; null if nothing is counted here
     */
    public function of(?string $connection, int $hours): ?array
    {
        if (! $this->minutes->exist()) {
            return null;
        }
        $until = intdiv(time(), 60) + 1;
        $length = 60 * $hours;
        $connection ??= ConnectionSettings::defaultName($this->config);

        return (new Series($until - $length, $length, 1))
            ->add($this->minutes->between($connection, $until - $length, $until))
            ->tasks();
    }
}
