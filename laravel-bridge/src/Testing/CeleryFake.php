<?php

declare(strict_types=1);

namespace CeleryBridge\Testing;

use CeleryBridge\CeleryManager;
use CeleryBridge\Concerns\IsDefaultClient;
use CeleryBridge\Config\ConnectionSettings;
use CeleryBridge\Contracts\Client;
use CeleryBridge\Contracts\Factory;
use CeleryBridge\Contracts\Result;
use CeleryBridge\Contracts\Transport;
use CeleryBridge\Transactions\AfterCommit;
use Illuminate\Contracts\Container\Container;
use LogicException;
use RuntimeException;
use Throwable;

/**
 * Stands for the manager in tests: records posts, and needs neither extension nor broker.
 *
 * As with `Queue::fake()`, a post inside a transaction is recorded at once. Tests that run in their
 * own transaction therefore work. `respectTransactions()` records it at the commit.
 */
final class CeleryFake implements Factory, Client
{
    use AssertsCanvases;
    use AssertsTasks;
    use IsDefaultClient;

    private readonly Recorder $recorder;

    /** Makes the clients, with transports that only record. */
    private CeleryManager $manager;

    /**
     * @param  array<string, mixed>  $results  by task name
     */
    public function __construct(private readonly Container $container, array $results = [])
    {
        $this->recorder = new Recorder($results);
        $this->manager = $this->makeManager(false);
    }

    /**
     * Sets the result of a task: a value, a closure that gets the PostedTask, an exception for a
     * failed task, or a FakeState for one that has not ended.
     */
    public function returning(string $task, mixed $result): self
    {
        $this->recorder->results[$task] = $result;

        return $this;
    }

    /**
     * Sets the outcome of a task that is posted already: a value, an exception, or a FakeState.
     */
    public function answer(string|Result|PostedTask $task, mixed $outcome): self
    {
        $this->recorder->answer(self::idOf($task), $outcome);

        return $this;
    }

    /**
     * Makes every post fail from now on, as with an unreachable broker. Null: posts work again.
     */
    public function failPosting(?Throwable $exception = new RuntimeException('the broker cannot be reached')): self
    {
        $this->recorder->postFailure = $exception;

        return $this;
    }

    /**
     * Records a post inside a transaction at its commit, and not at all if it rolls back.
     */
    public function respectTransactions(): self
    {
        $this->manager = $this->makeManager(true);

        return $this;
    }

    /** Returns true if a task was revoked before it had ended. */
    public function isRevoked(string $id): bool
    {
        return $this->recorder->status($id) === 'REVOKED';
    }

    /**
     * Calls a macro of the manager. Its posts are recorded, too.
     *
     * @param  array<array-key, mixed>  $parameters
     */
    public function __call(string $method, array $parameters): mixed
    {
        return $this->manager->{$method}(...$parameters);
    }

    public function connection(?string $name = null): Client
    {
        return $this->manager->connection($name);
    }

    /**
     * @throws LogicException always: that client would send
     */
    public function native(?string $name = null): \Celery\Client
    {
        throw new LogicException('Celery::native() is the extension\'s client, which sends, and Celery::fake() sends nothing. '
            .'Let the code under test take a Celery\ClientInterface, and give it a Celery\Testing\FakeClient.');
    }

    public function settings(?string $name = null): ConnectionSettings
    {
        return $this->manager->settings($name);
    }

    public function purge(?string $name = null): void
    {
        $this->manager->purge($name);
    }

    public function forgetConnections(): void
    {
        $this->manager->forgetConnections();
    }

    public function afterCommit(): AfterCommit
    {
        return $this->manager->afterCommit();
    }

    protected function recorder(): Recorder
    {
        return $this->recorder;
    }

    private function makeManager(bool $respectsTransactions): CeleryManager
    {
        return new CeleryManager(
            $this->container,
            fn (ConnectionSettings $settings): Transport => new FakeTransport($this->recorder, $settings->name),
            new AfterCommit($this->container, $respectsTransactions),
        );
    }
}
