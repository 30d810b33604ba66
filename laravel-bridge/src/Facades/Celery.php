<?php

declare(strict_types=1);

namespace CeleryBridge\Facades;

use CeleryBridge\CeleryManager;
use CeleryBridge\Contracts\Factory;
use CeleryBridge\Testing\CeleryFake;
use Illuminate\Support\Facades\Facade;

/**
 * The default connection, and the others by name. Import it by its full name: the extension has the
 * global class `Celery`, so no alias is registered.
 *
 * @method static \CeleryBridge\Contracts\Client connection(?string $name = null)
 * @method static \Celery\Client native(?string $name = null)
 * @method static \CeleryBridge\Config\ConnectionSettings settings(?string $name = null)
 * @method static void purge(?string $name = null)
 * @method static void forgetConnections()
 * @method static \CeleryBridge\Contracts\Result post(string $task, array $args = [], string|\UnitEnum|null $queue = null, array $options = [])
 * @method static array<array-key, \CeleryBridge\Contracts\Result> postMany(iterable $tasks)
 * @method static \CeleryBridge\PendingTask task(string $name, array $args = [])
 * @method static \CeleryBridge\PendingCanvas chain(iterable $steps)
 * @method static \CeleryBridge\PendingCanvas group(iterable $members)
 * @method static \CeleryBridge\PendingCanvas chord(iterable $header, object $body)
 * @method static \CeleryBridge\Contracts\Result|\CeleryBridge\Contracts\Results postCanvas(\CeleryBridge\Canvas\Canvas $canvas, ?bool $afterCommit = null)
 * @method static \CeleryBridge\Contracts\Results results(iterable $tasks)
 * @method static \CeleryBridge\Contracts\Result result(string $id)
 * @method static void forget(string $id)
 * @method static void revoke(string $id)
 * @method static void macro(string $name, object|callable $macro)
 * @method static CeleryFake returning(string $task, mixed $result)
 * @method static CeleryFake answer(string|\CeleryBridge\Contracts\Result|\CeleryBridge\Testing\PostedTask $task, mixed $outcome)
 * @method static CeleryFake failPosting(?\Throwable $exception = null)
 * @method static CeleryFake respectTransactions()
 * @method static void assertPosted(string|\Closure $task, \Closure|int|null $callback = null)
 * @method static void assertPostedTimes(string|\Closure $task, int $times = 1)
 * @method static void assertPostedOn(string|\UnitEnum $queue, string|\Closure $task, \Closure|null $callback = null)
 * @method static void assertNotPosted(string|\Closure $task, \Closure|null $callback = null)
 * @method static void assertNothingPosted()
 * @method static void assertCount(int $count)
 * @method static void assertChained(array $steps)
 * @method static void assertGrouped(array|\Closure $members)
 * @method static void assertChord(array $header, string|\Closure $body)
 * @method static void assertNoCanvasPosted()
 * @method static void assertRevoked(string|\Closure|\CeleryBridge\Contracts\Result|\CeleryBridge\Testing\PostedTask $task)
 * @method static void assertNotRevoked(string|\Closure|\CeleryBridge\Contracts\Result|\CeleryBridge\Testing\PostedTask $task)
 * @method static void assertNothingRevoked()
 * @method static \Illuminate\Support\Collection<int, \CeleryBridge\Testing\PostedTask> posted(string|\Closure|null $task = null, \Closure|null $callback = null)
 *
 * @see CeleryManager
 * @see CeleryFake
 */
final class Celery extends Facade
{
    /**
     * Records tasks from now on and posts nothing. Every later use of the facade, the contracts and
     * the queue driver gets the fake.
     *
     * @param  array<string, mixed>  $results  the results of tasks, by name: a value, a closure
     * that gets the
     *     {@see \CeleryBridge\Testing\PostedTask}, an exception for a failed task, or a
     *     {@see \CeleryBridge\Testing\FakeState} for one that has not ended. Others stay PENDING.
     */
    public static function fake(array $results = []): CeleryFake
    {
        $fake = new CeleryFake(self::getFacadeApplication(), $results);
        self::swap($fake);

        return $fake;
    }

    protected static function getFacadeAccessor(): string
    {
        return Factory::class;
    }
}
