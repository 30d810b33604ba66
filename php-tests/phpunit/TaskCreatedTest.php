<?php

namespace CeleryTests\PhpUnit;

use CeleryTests\Background;
use CeleryTests\Programs;
use CeleryTests\TasksTable;
use CeleryTests\Wait;
use PHPUnit\Framework\TestCase;

/**
 * A task's way from PHP through Redis and the shipped worker into the table, and its result's way
 * back.
 */
class TaskCreatedTest extends TestCase
{
    private const ANSWER = 20;

    private TasksTable $table;

    protected function setUp(): void
    {
        Programs::redis()->flushDB();
        $this->table = new TasksTable();
    }

    private function client(): \Celery
    {
        return new \Celery(
            getenv('REDIS_HOST'),
            null,
            null,
            0,
            'celery',
            'celery',
            (int) getenv('REDIS_PORT'),
            'redis'
        );
    }

    private function worker(string ...$options): Background
    {
        return Programs::worker(['--database', getenv('DATABASE_URL'), ...$options]);
    }

    public function test_a_row_is_completed_and_the_answer_is_true(): void
    {
        [$id, $other] = $this->table->insert(2);
        $worker = $this->worker();
        $result = $this->client()->PostTask('task_created', [$id]);
        $this->assertTrue($result->get(self::ANSWER));
        $this->assertSame('completed', $this->table->row($id)->status);
        $this->assertSame('Updated by celery worker!', $this->table->row($id)->message);
        $this->assertNotNull($this->table->row($id)->updated_at);
        $this->assertSame('pending', $this->table->row($other)->status);
        $worker->stop();
    }

    public function test_what_was_posted_before_the_worker_started_is_done(): void
    {
        $ids = $this->table->insert(50);
        $client = $this->client();
        $results = array_map(fn ($id) => $client->PostTask('task_created', [$id]), $ids);
        $this->assertSame(50, Programs::redis()->lLen('celery'));
        $worker = $this->worker();
        foreach ($results as $result) {
            $this->assertTrue($result->get(self::ANSWER));
        }
        $this->assertSame(50, $this->table->count('completed'));
        $worker->stop();
        $this->assertSame(0, Programs::redis()->lLen('celery'));
        $this->assertSame(0, Programs::redis()->hLen('unacked'));
    }

    public function test_nothing_is_lost_when_a_worker_is_killed(): void
    {
        $ids = $this->table->insert(100);
        $client = $this->client();
        foreach ($ids as $id) {
            $client->PostTask('task_created', [$id], false);
        }
        $redis = Programs::redis();

        // A locked table stops the first worker in the middle of its tasks.
        $lock = Programs::database();
        $lock->exec('LOCK TABLES tasks WRITE');
        $first = $this->worker('--lease', '2');
        Wait::until('tasks in the first worker\'s hands', self::ANSWER, fn () => $redis->hLen('unacked') > 0);
        $first->signal(SIGKILL);
        Wait::until('its end', self::ANSWER, fn () => !$first->isRunning());
        $this->assertSame(100, $redis->lLen('celery') + $redis->hLen('unacked'));
        $lock->exec('UNLOCK TABLES');

        $second = $this->worker('--lease', '2');
        Wait::until('all rows', 60, fn () => $this->table->count('completed') === 100);
        $second->stop();
        $this->assertSame([0, 0], [$redis->lLen('celery'), $redis->hLen('unacked')]);
    }

    public function test_a_worker_finds_the_broker_again(): void
    {
        $worker = $this->worker();
        foreach (Programs::redis()->client('LIST') as $connection) {
            try {
                Programs::redis()->client('KILL', $connection['addr']);
            } catch (\RedisException $e) {
                // The loop also kills its own connection.
            }
        }
        [$id] = $this->table->insert(1);
        $this->assertTrue($this->client()->PostTask('task_created', [$id])->get(self::ANSWER));
        $worker->stop();
    }
}
