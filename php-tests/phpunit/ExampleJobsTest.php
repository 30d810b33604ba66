<?php

namespace CeleryTests\PhpUnit;

use App\Jobs\TaskCreatedJob;
use App\Models\Task;
use App\Services\TaskService;
use CeleryTests\Application;
use CeleryTests\Programs;
use PHPUnit\Framework\TestCase;

/**
 * The example application's classes in a real Laravel.
 */
class ExampleJobsTest extends TestCase
{
    private \Illuminate\Foundation\Application $app;

    protected function setUp(): void
    {
        $this->app = Application::fresh();
    }

    public function test_the_job_posts_the_row_by_its_id(): void
    {
        $result = TaskCreatedJob::dispatch(7);
        $this->assertInstanceOf(\AsyncResult::class, $result);
        $envelope = json_decode(Programs::redis()->lIndex('celery', 0));
        $this->assertSame('task_created', $envelope->headers->task);
        $this->assertSame($result->getId(), $envelope->headers->id);
        $this->assertSame([7], json_decode(base64_decode($envelope->body))[0]);
    }

    public function test_the_older_spelling_of_the_configuration_is_fine(): void
    {
        $config = $this->app->make('config')->get('celery');
        unset($config['ssl_options'], $config['persistent_messages']);
        $this->app->make('config')->set('celery', $config + ['sslOptions' => [], 'password' => null]);
        $this->assertInstanceOf(\AsyncResult::class, TaskCreatedJob::dispatch(1));
        $this->assertSame(1, Programs::redis()->lLen('celery'));
    }

    public function test_the_service_inserts_and_sends(): void
    {
        $task = $this->app->make(TaskService::class)->createTask('Order paper');
        $this->assertSame(Task::STATUS_PENDING, $task->fresh()->status);
        $this->assertSame(1, Programs::redis()->lLen('celery'));
        $this->assertSame(['Order paper'], Task::query()->pluck('name')->all());
    }

    public function test_a_task_that_cannot_be_sent_is_failed(): void
    {
        // A port that was free a moment ago: no server listens there.
        $socket = stream_socket_server('tcp://127.0.0.1:0');
        $port = (int) substr(strrchr(stream_socket_get_name($socket, false), ':'), 1);
        fclose($socket);
        $this->app->make('config')->set('celery.port', $port);
        $this->app->make('config')->set('logging.default', 'null');
        $task = $this->app->make(TaskService::class)->createTask('Order paper');
        $this->assertSame(Task::STATUS_FAILED, $task->fresh()->status);
        $this->assertNull($task->result);
    }
}
