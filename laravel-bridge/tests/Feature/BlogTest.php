<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use App\Jobs\ICeleryTaskJob;
use App\Jobs\TaskCreatedJob;
use App\Models\Task;
use AsyncResult;
use CeleryBridge\Facades\Celery;
use CeleryBridge\Tests\Support\Broker;
use CeleryBridge\Tests\Support\TestCase;
use CeleryConnectionException;
use CeleryException;
use Illuminate\Support\Facades\DB;

/**
 * An application written for celery-php (fixtures/blog), run unchanged with the extension.
 */
final class BlogTest extends TestCase
{
    private const APP = __DIR__.'/../fixtures/blog';

    private Broker $broker;

    protected function setUp(): void
    {
        parent::setUp();
        $this->broker = $this->broker();
        config(['celery.host' => $this->broker->host, 'celery.port' => $this->broker->port]);
        config(['view.paths' => [self::APP.'/resources/views']]);
        require self::APP.'/routes/web.php';
        [$code, $output] = $this->command('migrate', ['--path' => self::APP.'/database/migrations', '--realpath' => true, '--force' => true]);
        $this->assertSame(0, $code, $output);
    }

    protected function config(): array
    {
        return ['celery' => require self::APP.'/config/celery.php'];
    }

    public function test_creating_a_task_on_the_page_posts_it(): void
    {
        $this->post('/', ['name' => 'first'])->assertRedirect('/');

        $task = Task::sole();
        $this->assertSame(['first', Task::STATUS_PENDING, null], [$task->name, $task->status, $task->message]);

        $messages = $this->broker->messages('celery');
        $this->assertCount(1, $messages);
        $this->assertSame('task_created', $messages[0]->headers->task);
        $this->assertSame([$task->id], $messages[0]->args);

        $this->get('/')->assertOk()->assertSee('first')->assertSee('pending');
        DB::table('tasks')->update(['status' => Task::STATUS_COMPLETED, 'message' => 'Updated by celery worker!']);
        $this->get('/')->assertSee('completed')->assertSee('Updated by celery worker!');
    }

    public function test_the_job_gives_an_async_result_that_becomes_ready(): void
    {
        $job = $this->app->make(TaskCreatedJob::class);
        $this->assertInstanceOf(ICeleryTaskJob::class, $job);

        $result = $job->dispatch(7);

        $this->assertInstanceOf(AsyncResult::class, $result);
        $this->assertFalse($result->isReady());
        $this->broker->finish($result->getId(), 'SUCCESS', true);
        $this->assertTrue($result->isReady());
        $this->assertTrue($result->isSuccess());
        $this->assertTrue($result->get(0));
        $this->assertFalse($this->broker->hasResult($result->getId()), 'celery-php consumes a result when it is read');
    }

    public function test_the_bridge_posts_from_the_same_file(): void
    {
        Celery::post('task_created', [8]);
        (new TaskCreatedJob())->dispatch(9);

        $this->assertSame([[8], [9]], array_column($this->broker->messages('celery'), 'args'));
    }

    public function test_with_the_broker_down_the_visitor_gets_an_error_soon(): void
    {
        // No server listens on port 1.
        config(['celery.host' => '127.0.0.1', 'celery.port' => 1]);
        $this->withoutExceptionHandling();

        try {
            $this->post('/', ['name' => 'lost']);
            $this->fail('it was posted');
        } catch (CeleryException $e) {
            $this->assertInstanceOf(CeleryConnectionException::class, $e);
        }
    }
}
