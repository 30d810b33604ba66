<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use CeleryBridge\Attributes\CeleryTask;
use CeleryBridge\Exceptions\TaskFailed;
use CeleryBridge\Facades\Celery;
use CeleryBridge\Jobs\CeleryTaskJob;
use CeleryBridge\Tests\fixtures\jobs\FailsOnWorker;
use CeleryBridge\Tests\Support\TestCase;
use CeleryTests\Background;
use CeleryTests\Programs;
use CeleryTests\Wait;
use Illuminate\Support\Facades\DB;
use RuntimeException;

foreach (['Background', 'Programs', 'Wait'] as $class) {
    require_once dirname(__DIR__, 2)."/support/{$class}.php";
}

#[CeleryTask('proj.add')]
final class AddsNumbers extends CeleryTaskJob
{
    public function __construct(public int $x, public int $y)
    {
    }
}

/**
 * Chains, groups and chords that Laravel posts, on a Python worker, on ours, and on both.
 */
final class CanvasOnWorkersTest extends TestCase
{
    protected function config(): array
    {
        return ['queue' => self::queueConfig()];
    }

    public function test_on_a_python_worker(): void
    {
        $this->assertAnswers(['python']);
    }

    public function test_on_our_worker(): void
    {
        $this->assertAnswers(['ours']);
    }

    public function test_on_both(): void
    {
        $this->assertAnswers(['python', 'ours']);
    }

    public function test_the_outcomes_of_a_chain_on_a_python_worker(): void
    {
        $this->assertOutcomes('python');
    }

    public function test_the_outcomes_of_a_chain_on_our_worker(): void
    {
        $this->assertOutcomes('ours');
    }

    private function assertOutcomes(string $kind): void
    {
        $url = $this->broker()->url;
        config(['celery.connections.default.url' => $url]);
        $this->command('migrate', ['--force' => true]);
        $this->createFailedJobsTable();
        $this->createTasksTable();
        $worker = $this->worker($kind, $url);
        $add = Celery::task('proj.add', [1, 2])->immutable();

        Celery::chain([new AddsNumbers(1, 1), new FailsOnWorker('alas'), new FailsOnWorker('never begun'), $add])->tracked()->post();
        Celery::chord([new AddsNumbers(1, 1), new FailsOnWorker('in a header')], new FailsOnWorker('a body'))->post();
        Wait::until('the ends of all tasks', 60, function (): bool {
            $this->command('celery:listen', ['--once' => true]);

            return ! DB::table('celery_jobs')->whereNull('settled_at')->exists();
        });

        $states = array_count_values(DB::table('celery_jobs')->pluck('state')->all());
        ksort($states);
        $this->assertSame(['FAILURE' => 2, 'REVOKED' => 3, 'SUCCESS' => 2], $states);
        $this->assertSame(['alas', 'in a header'], DB::table('tasks')->orderBy('name')->pluck('name')->all(), 'failed() of what ran');
        $this->assertSame(2, DB::table('failed_jobs')->count());
        $worker->stop();
    }

    /**
     * @param  list<string>  $kinds
     */
    private function assertAnswers(array $kinds): void
    {
        $url = $this->broker()->url;
        config(['celery.connections.default.url' => $url]);
        $workers = array_map(fn (string $kind): Background => $this->worker($kind, $url), $kinds);

        $add = static fn (int ...$numbers) => Celery::task('proj.add', $numbers);
        $sum = static fn () => Celery::task('proj.xsum');

        // A job keeps its own arguments; a task gets the result before it.
        $this->assertSame(21, Celery::chain([$add(1, 1), new AddsNumbers(3, 4), Celery::task('proj.mul', [3])])->post()->get(60));
        $this->assertSame(['a' => 3, 'b' => 18], Celery::group([
            'a' => new AddsNumbers(1, 2),
            'b' => Celery::chain([$add(2, 4), Celery::task('proj.mul', [3])]),
        ])->post()->get(60));
        $this->assertSame(10, Celery::chord([$add(1, 2), new AddsNumbers(3, 4)], $sum())->post()->get(60));
        // A group before another step is a chord, and a chain may end with a group.
        $this->assertSame(20, Celery::chain([Celery::group([$add(1, 2), $add(3, 4)]), $sum(), $add(10)])->post()->get(60));
        $this->assertSame([13, 23], Celery::chain([$add(1, 2), Celery::group([$add(10), $add(20)])])->post()->get(60));
        $this->assertSame(5050, Celery::chord(array_map(static fn (int $n) => $add($n, 0), range(1, 100)), $sum())->post()->get(60));
        $this->assertSame(0, Celery::chord([], $sum())->post()->get(60));

        $failing = Celery::chord([$add(1, 2), Celery::task('proj.fail', ['alas'])], $sum())->post();
        try {
            $failing->get(60);
            $this->fail('a member of the header has failed');
        } catch (TaskFailed $e) {
            $this->assertSame('ChordError', $e->type);
            $this->assertStringContainsString('alas', $e->getMessage());
        }

        array_map(static fn (Background $worker) => $worker->stop(), $workers);
    }

    private function worker(string $kind, string $url): Background
    {
        try {
            $command = $kind === 'ours'
                ? [Programs::path('examples/playground'), '-b', $url, '--result-backend', $url, '-l', 'info']
                : [Programs::python('5.7'), '-m', 'celery', '-A', 'proj', 'worker', '-l', 'info', '-P', 'threads', '-c', '4'];
        } catch (RuntimeException $e) {
            $this->markTestSkipped($e->getMessage());
        }
        $worker = new Background(
            $command,
            ['REDIS_URL' => $url, 'TRANSPORT_OPTIONS' => '{}', 'PYTHONDONTWRITEBYTECODE' => '1', 'PYTHONUNBUFFERED' => '1'],
            Programs::root().'/php-tests/interop/python',
        );
        $worker->waitForText(' ready.', 60);

        return $worker;
    }
}
