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
 * @method static \CeleryBridge\Config\ConnectionSettings settings(?string $name = null)
 * @method static void purge(?string $name = null)
 * @method static void forgetConnections()
 * @method static \CeleryBridge\Contracts\Result post(string $task, array $args = [], string|\UnitEnum|null $queue = null, array $options = [])
 * @method static array<array-key, \CeleryBridge\Contracts\Result> postMany(iterable $tasks)
 * @method static \CeleryBridge\PendingTask task(string $name, array $args = [])
 * @method static \CeleryBridge\Contracts\Result result(string $id)
 * @method static void forget(string $id)
 * @method static void revoke(string $id)
 * @method static void assertPosted(string|\Closure $task, \Closure|int|null $callback = null)
 * @method static void assertPostedOn(string|\UnitEnum $queue, string|\Closure $task, \Closure|null $callback = null)
 * @method static void assertNotPosted(string|\Closure $task, \Closure|null $callback = null)
 * @method static void assertNothingPosted()
 * @method static void assertCount(int $count)
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
     *     {@see \CeleryBridge\Testing\PostedTask}, or an exception for a failed task. Others stay
     *     PENDING.
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
