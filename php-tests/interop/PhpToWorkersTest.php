<?php

namespace CeleryTests\Interop;

use CeleryTests\Programs;
use CeleryTests\WithEachWorker;
use PHPUnit\Framework\TestCase;

/**
 * Each worker (Python Celery in three versions, and ours) runs the tasks that PHP posts, and PHP
 * reads the results.
 */
class PhpToWorkersTest extends TestCase
{
    use WithEachWorker;

    private const OURS = 'playground';
    private const FIRST = 1;

    private function client(string $worker, int $db): \Celery
    {
        self::start($worker, $db);

        return new \Celery(
            getenv('REDIS_HOST'),
            null,
            null,
            $db,
            'celery',
            'celery',
            (int) getenv('REDIS_PORT'),
            'redis'
        );
    }

    /** @dataProvider workers */
    public function test_positional_arguments_and_a_result(string $worker, int $db): void
    {
        $result = $this->client($worker, $db)->PostTask('proj.add', [2, 3]);
        $this->assertSame(5, $result->get(20));
        $this->assertTrue($result->isReady());
        $this->assertTrue($result->isSuccess());
        $this->assertSame('SUCCESS', $result->getStatus());
    }

    /** @dataProvider workers */
    public function test_keyword_arguments(string $worker, int $db): void
    {
        $this->assertSame(42, $this->client($worker, $db)->PostTask('proj.mul', ['x' => 6, 'y' => 7])->get(20));
    }

    /** @dataProvider workers */
    public function test_values_of_all_kinds_come_back(string $worker, int $db): void
    {
        $values = ['žluťoučký kůň 🎉', "a\nb\"c\\", 0.1, -7, PHP_INT_MAX, true, null, [], [1, [2]], ['k' => 'v']];
        $answer = $this->client($worker, $db)->PostTask('proj.echo', $values)->get(20);
        $this->assertEquals(json_decode(json_encode($values)), $answer->args);
        $this->assertEquals(new \stdClass(), $answer->kwargs);
    }

    /** @dataProvider workers */
    public function test_a_failure_comes_with_its_traceback(string $worker, int $db): void
    {
        $result = $this->client($worker, $db)->PostTask('proj.fail', ['alas']);
        $value = $result->get(20);
        $this->assertSame('FAILURE', $result->getStatus());
        $this->assertTrue($result->failed());
        $this->assertSame('ValueError', $value->exc_type);
        $this->assertEquals(['alas'], $value->exc_message);
        $this->assertStringContainsString('ValueError: alas', $result->getTraceback());
    }

    /** @dataProvider workers */
    public function test_retries_end_in_the_last_error(string $worker, int $db): void
    {
        $result = $this->client($worker, $db)->PostTask('proj.retrying', []);
        $value = $result->get(30);
        $this->assertSame('FAILURE', $result->getStatus());
        $this->assertSame('OSError', $value->exc_type);
        $log = self::$workers[$worker]->log();
        $this->assertSame(3, substr_count($log, "Task proj.retrying[{$result->getId()}] received"), $log);
    }

    /** @dataProvider workers */
    public function test_progress_is_not_mistaken_for_the_result(string $worker, int $db): void
    {
        $this->assertSame('done', $this->client($worker, $db)->PostTask('proj.custom_state', [])->get(20));
    }

    /** @dataProvider workers */
    public function test_an_expired_task_is_revoked(string $worker, int $db): void
    {
        $past = gmdate('Y-m-d\TH:i:s', time() - 60) . '+00:00';
        $result = $this->client($worker, $db)->PostTask('proj.add', [1, 1], true, 'celery', ['expires' => $past]);
        $result->get(20);
        $this->assertSame('REVOKED', $result->getStatus());
    }

    /** @dataProvider workers */
    public function test_a_revoked_task_does_not_run(string $worker, int $db): void
    {
        $result = $this->client($worker, $db)->PostTask('proj.add', [1, 1], true, 'celery', ['countdown' => 1]);
        $result->revoke();
        $this->assertSame('TaskRevokedError', $result->get(20)->exc_type);
        $this->assertSame('REVOKED', $result->getStatus());
    }

    /** @dataProvider workers */
    public function test_a_task_with_an_eta_is_done(string $worker, int $db): void
    {
        $eta = gmdate('Y-m-d\TH:i:s', time() + 1) . '+00:00';
        $result = $this->client($worker, $db)->PostTask('proj.add', [1, 1], true, 'celery', ['eta' => $eta]);
        $this->assertSame(2, $result->get(30));
    }
}
