<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use CeleryBridge\Tests\fixtures\jobs\FailsOnWorker;
use CeleryBridge\Tests\Support\Sandbox;
use CeleryBridge\Tests\Support\TestCase;
use CeleryBridge\Transport\Extension;
use CeleryTests\Background;
use CeleryTests\Programs;
use CeleryTests\Wait;
use Illuminate\Database\Schema\Blueprint;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Queue;
use Illuminate\Support\Facades\Schema;
use RuntimeException;

foreach (['Background', 'Programs', 'Wait'] as $class) {
    require_once dirname(__DIR__, 2)."/support/{$class}.php";
}

/**
 * Jobs that fail on a worker, while the listeners, the worker and a Redis with AOF are killed at
 * random moments. CELERY_TEST_KILLS is the number of kills; CELERY_TEST_SEED repeats the choices of a
 * run that failed.
 */
class OutcomesAfterKillsTest extends TestCase
{
    private const KILLS = 9;

    private const JOBS_A_KILL = 6;

    /** The longest wait before a kill, in microseconds. */
    private const LONGEST_WAIT = 300_000;

    protected function config(): array
    {
        return ['queue' => self::queueConfig(null)];
    }

    protected function prepareDatabase(): void
    {
        DB::statement('PRAGMA journal_mode = WAL');
        DB::statement('PRAGMA busy_timeout = 20000');
    }

    public function test_each_failed_task_has_exactly_one_row(): void
    {
        if (! Extension::loaded()) {
            $this->markTestSkipped('the extension is not loaded');
        }
        try {
            Programs::path('examples/playground');
        } catch (RuntimeException $e) {
            $this->markTestSkipped($e->getMessage());
        }
        $this->prepareDatabase();
        $this->command('migrate', ['--force' => true]);
        $this->createTasksTable();
        Schema::create('failed_jobs', static function (Blueprint $table): void {
            $table->id();
            // Not unique: the database must not hide a second row.
            $table->string('uuid');
            $table->text('connection');
            $table->text('queue');
            $table->longText('payload');
            $table->longText('exception');
            $table->timestamp('failed_at')->useCurrent();
        });

        $socket = stream_socket_server('tcp://127.0.0.1:0');
        $port = (int) substr((string) strrchr((string) stream_socket_get_name($socket, false), ':'), 1);
        fclose($socket);
        $url = "redis://127.0.0.1:{$port}/0";
        $start = [
            'redis' => fn (): Background => self::begun('Ready to accept connections', [
                'redis-server', '--bind', '127.0.0.1', '--port', (string) $port, '--dir', $this->sandbox->path, '--save', '',
                '--appendonly', 'yes', '--appendfsync', 'always',
            ]),
            'worker' => fn (): Background => self::begun(' ready.', [
                Programs::path('examples/playground'), '-b', $url, '--result-backend', $url, '-E', '--lease', '2', '-l', 'info',
            ]),
            'first' => fn (): Background => $this->listener($url),
            'second' => fn (): Background => $this->listener($url),
        ];
        $running = array_map(static fn (callable $begin): Background => $begin(), $start);

        config(['celery.connections.default.url' => $url]);
        $seed = (int) (getenv('CELERY_TEST_SEED') ?: random_int(1, 1_000_000));
        mt_srand($seed);
        $ids = [];
        for ($kill = 0; $kill < (int) (getenv('CELERY_TEST_KILLS') ?: self::KILLS); $kill++) {
            for ($job = 0; $job < self::JOBS_A_KILL; $job++) {
                $ids[] = (string) Queue::connection('celery')->push(new FailsOnWorker("job {$kill}.{$job}"));
            }
            // Each of them dies in a round of four, in an order of its own.
            $order = $kill % count($start) === 0 ? self::shuffled(array_keys($start)) : $order;
            $victim = $order[$kill % count($start)];
            usleep(mt_rand(0, self::LONGEST_WAIT));
            $running[$victim]->signal(SIGKILL);
            Wait::until("the end of {$victim}", 60, static fn (): bool => ! $running[$victim]->isRunning());
            $running[$victim] = $start[$victim]();
        }

        Wait::until("the ends of all jobs (seed {$seed})", 300, static fn (): bool => DB::table('celery_jobs')->whereNull('settled_at')->doesntExist());
        $failed = DB::table('failed_jobs')->pluck('uuid')->all();
        sort($ids);
        sort($failed);
        $this->assertSame($ids, $failed, "seed {$seed}");
        $this->assertSame(count($ids), DB::table('tasks')->distinct()->count('name'), 'failed() of each job ran');
    }

    /**
     * @param  list<string>  $names
     * @return list<string>
     */
    private static function shuffled(array $names): array
    {
        $numbered = array_map(static fn (string $name): array => [mt_rand(), $name], $names);
        sort($numbered);

        return array_column($numbered, 1);
    }

    private function listener(string $url): Background
    {
        return self::begun('Listening', [
            PHP_BINARY, ...self::extension(), Sandbox::bridge('tests/fixtures/app/artisan.php'),
            $this->sandbox->path, $url, 'celery:listen', '--interval=1',
        ]);
    }

    /**
     * Returns the options that load the extension into another PHP, if those of this one did.
     *
     * @return list<string>
     */
    private static function extension(): array
    {
        $own = explode("\0", (string) file_get_contents('/proc/self/cmdline'));
        $found = array_values(array_filter($own, static fn (string $option): bool => str_starts_with($option, 'extension=')));

        return $found === [] ? [] : ['-d', $found[0]];
    }

    /**
     * @param  list<string>  $command
     */
    private static function begun(string $sign, array $command): Background
    {
        $program = new Background($command);
        $program->waitForText($sign, 60);

        return $program;
    }
}
