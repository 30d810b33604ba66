<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use CeleryBridge\Attributes\CeleryTask;
use CeleryBridge\Contracts\Result;
use CeleryBridge\Exceptions\JobCannotRunOnCelery;
use CeleryBridge\Facades\Celery;
use CeleryBridge\Jobs\AbstractCeleryTaskJob;
use CeleryBridge\Jobs\CeleryTaskJob;
use CeleryBridge\Queue\TaskMapper;
use CeleryBridge\Testing\PostedTask;
use CeleryBridge\Tests\fixtures\jobs\PlainJob;
use CeleryBridge\Tests\fixtures\jobs\TaskCreated;
use CeleryBridge\Tests\fixtures\jobs\TrainModel;
use CeleryBridge\Tests\Support\TestCase;
use Illuminate\Database\Eloquent\Model;
use Illuminate\Database\Schema\Blueprint;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Queue;
use Illuminate\Support\Facades\Schema;
use RuntimeException;

/**
 * Jobs on connections that PHP workers serve (sync, database): their handle() posts the task.
 */
final class JobsTest extends TestCase
{
    protected function setUp(): void
    {
        parent::setUp();
        $this->createTasksTable();
    }

    public function test_a_job_is_read_without_being_serialized(): void
    {
        $this->assertSame('task_created', TaskMapper::name(new TaskCreated(7)));
        $this->assertSame([7], TaskMapper::arguments(new TaskCreated(7)));
        $this->assertSame('ml.train', TaskMapper::name(new TrainModel('mnist')));
        $this->assertSame(['dataset' => 'mnist'], TaskMapper::arguments(new TrainModel('mnist')));
        $this->assertFalse(TaskMapper::maps(new PlainJob()));
        $this->assertFalse(TaskMapper::maps('App\Jobs\Old@handle'));
        $this->assertSame('task_created', TaskMapper::name(new ChildOfTaskCreated(1)), 'a subclass has the task of its parent');
        $this->assertSame('reports', TaskMapper::queue(new OnItsOwnQueue(new Row())));
    }

    public function test_a_constructor_without_matching_properties_is_explained(): void
    {
        $this->expectException(JobCannotRunOnCelery::class);
        $this->expectExceptionMessage('no property for $secret of its constructor; give it a method celeryArguments()');
        TaskMapper::arguments(new Opaque(1));
    }

    public function test_a_dispatched_job_posts_its_task(): void
    {
        Celery::fake();

        TaskCreated::dispatch(7);
        TaskCreated::dispatchSync(8);

        Celery::assertPosted('task_created', 2);
        Celery::assertPostedOn('celery', 'task_created', fn (PostedTask $task): bool => $task->args === [7]);
    }

    public function test_the_attribute_may_name_queue_and_connection(): void
    {
        config(['celery.connections.second' => ['host' => 's']]);
        Celery::fake();
        $row = new Row();
        $row->name = 'x';
        $row->save();
        OnItsOwnQueue::dispatchSync($row);

        Celery::assertPostedOn('reports', 'report', fn (PostedTask $task): bool => $task->connection === 'second');
    }

    public function test_inside_a_transaction_the_task_is_posted_after_the_commit(): void
    {
        $fake = Celery::fake()->respectTransactions();

        DB::transaction(function () use ($fake): void {
            TaskCreated::dispatch(7);
            $fake->assertNothingPosted();
        });
        $fake->assertPosted('task_created', 1);

        try {
            DB::transaction(function (): void {
                TaskCreated::dispatch(8);

                throw new RuntimeException('rolled back');
            });
        } catch (RuntimeException) {
        }
        $fake->assertCount(1);
    }

    public function test_a_job_that_cannot_post_throws_and_marks_its_row(): void
    {
        Celery::fake()->failPosting(new RuntimeException('broker down'));
        $id = DB::table('tasks')->insertGetId(['name' => 'x']);

        try {
            TaskCreated::dispatch($id);
            $this->fail('it was posted');
        } catch (RuntimeException $e) {
            $this->assertSame('broker down', $e->getMessage());
        }

        $this->assertSame('failed', DB::table('tasks')->value('status'));
    }

    public function test_a_job_that_cannot_post_after_the_commit_marks_its_row_too(): void
    {
        Celery::fake()->respectTransactions()->failPosting(new RuntimeException('broker down'));

        try {
            DB::transaction(fn () => TaskCreated::dispatch(DB::table('tasks')->insertGetId(['name' => 'x'])));
            $this->fail('it was posted');
        } catch (RuntimeException $e) {
            $this->assertSame('broker down', $e->getMessage());
        }

        $this->assertSame(['failed', 'broker down'], array_values((array) DB::table('tasks')->first(['status', 'message'])));
    }

    public function test_laravel_tries_again_by_the_jobs_tries_and_calls_failed_after_the_last(): void
    {
        $this->createJobsTable();
        $fake = Celery::fake()->failPosting(new RuntimeException('broker down'));
        $id = DB::table('tasks')->insertGetId(['name' => 'x', 'status' => 'pending']);
        TriesTwice::dispatch($id)->onConnection('database');

        $this->work();
        $this->assertSame('pending', DB::table('tasks')->value('status'), 'one try is left');
        $this->assertSame(1, Queue::connection('database')->size());

        $this->work();
        $this->assertSame('failed', DB::table('tasks')->value('status'));
        $this->assertSame(0, Queue::connection('database')->size());
        $fake->assertNothingPosted();
    }

    public function test_all_tries_of_a_job_post_the_same_task_id(): void
    {
        $this->createJobsTable();
        $fake = Celery::fake();
        TriesTwice::dispatch(1)->onConnection('database');
        $uuid = json_decode((string) DB::table('jobs')->value('payload'))->uuid;

        $this->work();

        $this->assertSame($uuid, $fake->posted()->sole()->id);
    }

    public function test_the_older_style_of_job_posts_through_the_bridge(): void
    {
        Celery::fake(['task_created' => true]);

        $result = (new OlderStyle())->dispatch(9);

        $this->assertTrue($result->get());
        Celery::assertPosted('task_created', fn (PostedTask $task): bool => $task->args === [9]);
    }

    private function createJobsTable(): void
    {
        Schema::create('jobs', static function (Blueprint $table): void {
            $table->bigIncrements('id');
            $table->string('queue')->index();
            $table->longText('payload');
            $table->unsignedTinyInteger('attempts');
            $table->unsignedInteger('reserved_at')->nullable();
            $table->unsignedInteger('available_at');
            $table->unsignedInteger('created_at');
        });
    }

    private function work(): void
    {
        $this->command('queue:work', ['connection' => 'database', '--once' => true, '--sleep' => 0]);
    }
}

final class ChildOfTaskCreated extends TaskCreated
{
}

final class TriesTwice extends TaskCreated
{
    public int $tries = 2;
}

#[CeleryTask('report', queue: 'reports', connection: 'second')]
final class OnItsOwnQueue extends CeleryTaskJob
{
    public function __construct(public Row $row)
    {
    }
}

#[CeleryTask('opaque')]
final class Opaque extends CeleryTaskJob
{
    public function __construct(int $secret)
    {
    }
}

final class Row extends Model
{
    protected $table = 'tasks';
}

final class OlderStyle extends AbstractCeleryTaskJob
{
    public function dispatch(int $id): Result
    {
        return $this->send('task_created', [$id]);
    }
}
