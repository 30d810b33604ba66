<?php

namespace CeleryTests;

/**
 * Runs a test with each worker in turn: ours, and Python Celery in three versions. Each has its own
 * database, from the constant FIRST of the test on: those before belong to other tests.
 */
trait WithEachWorker
{
    /** @var array<string, Background> the workers so far */
    private static array $workers = [];

    public static function tearDownAfterClass(): void
    {
        self::$workers = [];
    }

    /** Returns the name of each worker and the number of its database. */
    public function workers(): array
    {
        $sets = [];
        foreach ([self::OURS, ...Programs::PYTHONS] as $number => $worker) {
            $sets[$worker] = [$worker, self::FIRST + $number];
        }

        return $sets;
    }

    /**
     * Starts a worker at the first call for it.
     *
     * @param list<string> $options options of our worker
     */
    private static function start(string $worker, int $db, array $options = []): void
    {
        self::$workers[$worker] ??= $worker === self::OURS
            ? Programs::playground($options, $db)
            : Programs::pythonWorker($worker, $db);
    }
}
