<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use CeleryBridge\Contracts\Result;
use CeleryBridge\Exceptions\ResultTimedOut;
use CeleryBridge\Exceptions\TaskNotPosted;
use CeleryBridge\Facades\Celery;
use CeleryBridge\Tests\fixtures\jobs\TaskCreated;
use CeleryBridge\Tests\Support\TestCase;
use Closure;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Queue;
use RuntimeException;

/**
 * Results of tasks whose post waits for the commit of a transaction.
 */
final class DeferredResultTest extends TestCase
{
    /**
     * @dataProvider ways
     */
    #[\PHPUnit\Framework\Attributes\DataProvider('ways')] // PHPUnit 12 reads no comments.
    public function test_waiting_inside_the_transaction_throws_at_once(Closure $post): void
    {
        Celery::fake(['add' => 5, 'task_created' => 5])->respectTransactions();

        $result = DB::transaction(function () use ($post): Result {
            $result = $post();
            foreach ([null, 0.0, 30.0] as $timeout) {
                $this->assertNotPosted('waits for the commit', fn () => $result->get($timeout));
            }
            $this->assertSame('PENDING', $result->status());
            $this->assertFalse($result->ready());

            return $result;
        });

        $this->assertSame(5, $result->get());
    }

    /**
     * @return iterable<string, array{Closure(): Result}>
     */
    public static function ways(): iterable
    {
        yield 'post' => [fn () => Celery::post('add')];
        yield 'task' => [fn () => Celery::task('add')->post()];
        yield 'many' => [fn () => Celery::postMany(['x' => Celery::task('add'), 'y' => Celery::task('add')])['y']];
        yield 'found by its id' => [fn () => Celery::result(Celery::post('add')->id())];
        yield 'a job' => [fn () => Celery::result(Queue::connection('celery')->push(new TaskCreated(1)))];
        yield 'in a nested transaction' => [fn () => DB::transaction(fn () => Celery::post('add'))];
    }

    public function test_a_task_that_does_not_wait_can_be_waited_for(): void
    {
        Celery::fake(['add' => 5])->respectTransactions();

        DB::transaction(function (): void {
            $this->assertSame(5, Celery::task('add')->beforeCommit()->post()->get());
            Celery::post('other');
            try {
                Celery::result('of another program')->get(0);
                $this->fail('it has a result');
            } catch (ResultTimedOut) {
            }
        });
        $this->assertSame(5, Celery::post('add')->get());
    }

    public function test_after_a_rollback_the_task_is_known_not_to_be_posted(): void
    {
        Celery::fake(['add' => 5])->respectTransactions();
        $result = null;

        try {
            DB::transaction(function () use (&$result): void {
                $result = Celery::post('add');

                throw new RuntimeException('rolled back');
            });
        } catch (RuntimeException) {
        }

        $this->assertNotPosted('was rolled back', fn () => $result->get());
    }

    public function test_a_rolled_back_part_of_a_transaction_counts_too(): void
    {
        Celery::fake(['add' => 5])->respectTransactions();

        [$kept, $dropped] = DB::transaction(function (): array {
            $kept = Celery::post('add');
            DB::beginTransaction();
            $dropped = Celery::post('add');
            DB::rollBack();
            $this->assertNotPosted('was rolled back', fn () => $dropped->get());
            $this->assertNotPosted('waits for the commit', fn () => $kept->get());

            return [$kept, $dropped];
        });

        $this->assertSame(5, $kept->get());
        $this->assertNotPosted('was rolled back', fn () => $dropped->get());
    }

    public function test_with_a_real_broker_nothing_is_waited_for(): void
    {
        config(['celery.connections.default.url' => $this->broker()->url]);

        DB::transaction(function (): void {
            $result = Celery::post('add');
            $this->assertNotPosted('beforeCommit()', fn () => $result->get(20));
        });
    }

    private function assertNotPosted(string $reason, Closure $wait): void
    {
        try {
            $wait();
        } catch (TaskNotPosted $e) {
            $this->assertStringContainsString($reason, $e->getMessage());

            return;
        }

        $this->fail('a result was given');
    }
}
