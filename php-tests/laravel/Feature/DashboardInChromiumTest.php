<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use CeleryBridge\Facades\Celery;
use CeleryBridge\Tests\fixtures\jobs\FailsOnWorker;
use CeleryBridge\Tests\Support\Sandbox;
use CeleryBridge\Tests\Support\TestCase;
use CeleryTests\Background;
use CeleryTests\Chromium;
use CeleryTests\Programs;
use CeleryTests\Wait;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Queue;
use RuntimeException;

foreach (['Background', 'Chromium', 'Programs', 'Wait'] as $class) {
    require_once dirname(__DIR__, 2)."/support/{$class}.php";
}

/**
 * What a user does with the dashboard, in Chromium and with workers in Rust, in Python, and both.
 * The test leaves its screenshots in target/screenshots.
 */
final class DashboardInChromiumTest extends TestCase
{
    private const MARKUP = '<script>document.title = "run"</script><img src=x onerror="document.title = \'run\'">';

    private string $url;

    protected function config(): array
    {
        return [
            'celery' => ['dashboard' => ['enabled' => true]],
            'queue' => self::queueConfig(),
        ];
    }

    protected function setUp(): void
    {
        parent::setUp();
        $this->url = $this->broker()->url;
        if (trim((string) shell_exec('command -v chromium')) === '') {
            $this->markTestSkipped('chromium is not installed');
        }
        config(['celery.connections.default.url' => $this->url]);
        // The files of other processes: the server, and the listener.
        $storage = "{$this->sandbox->path}/storage/framework";
        $this->sandbox->write('config/cache.php', '<?php return '.var_export([
            'default' => 'file', 'stores' => ['file' => ['driver' => 'file', 'path' => "{$storage}/cache"]], 'prefix' => 'sandbox',
        ], true).';');
        $session = self::sessionConfig('file', ['files' => "{$storage}/sessions"]);
        $this->sandbox->write('config/session.php', '<?php return '.var_export($session, true).';');
        DB::statement('PRAGMA journal_mode = WAL');
        DB::statement('PRAGMA busy_timeout = 20000');
        $this->command('migrate', ['--force' => true]);
        $this->createTasksTable();
        $this->createFailedJobsTable();
    }

    /** @dataProvider fleets */
    #[\PHPUnit\Framework\Attributes\DataProvider('fleets')] // PHPUnit 12 reads no comments.
    public function test_a_user_sees_retries_and_stops_tasks(string ...$fleet): void
    {
        $workers = array_map(fn (string $kind): Background => $this->worker($kind), $fleet);
        $listener = new Background(self::php('artisan.php', $this->sandbox->path, $this->url, 'celery:listen', '--interval=1'));
        $listener->waitForText('Listening', 60);
        [$server, $address] = $this->server('local');
        $browser = new Chromium();

        // A failure appears by itself.
        $browser->open("{$address}/celery/jobs");
        $browser->waitFor('document.getElementById("live").innerText.includes("No jobs")');
        $browser->evaluate('window.untouched = true');
        $ids = [];
        foreach ($fleet as $kind) {
            $ids[$kind] = (string) Queue::connection('celery')->push(new FailsOnWorker("{$kind} ".self::MARKUP), '', "only-{$kind}");
        }
        $browser->waitFor('document.querySelectorAll("[data-state=FAILURE]").length === '.count($fleet));
        $this->assertTrue($browser->evaluate('window.untouched'), 'the page was not loaded again');
        $this->screenshot($browser, $fleet, 'jobs');

        foreach ($ids as $kind => $id) {
            $browser->open("{$address}/celery/jobs");
            $browser->click("[id='job-{$id}']");
            $browser->waitFor('document.querySelector("#live p.fault") !== null');
            // An event has the exception as Python writes it, with other quotes.
            $this->assertStringContainsString('<script>document.title = ', $browser->evaluate('document.querySelector("#live p.fault").innerText'));
            $this->assertStringNotContainsString('run', $browser->evaluate('document.title'));
            $this->assertSame(0, $browser->evaluate('document.querySelectorAll("#live script, #live img").length'));
            $this->screenshot($browser, $fleet, "job-{$kind}");
            $browser->click('#retry');
            $browser->waitFor('document.querySelector(".done")?.innerText.includes("sent again")');
        }
        // Each retry has failed, too.
        $browser->open("{$address}/celery/jobs?filter=failed");
        $browser->waitFor('document.querySelectorAll("[data-state=FAILURE]").length === '. 2 * count($fleet));

        // A running task is stopped.
        $browser->open("{$address}/celery");
        foreach ($fleet as $kind) {
            Celery::post('proj.sleep', [600], "only-{$kind}", ['id' => "long-{$kind}"]);
            $browser->waitFor("document.getElementById('revoke-long-{$kind}') !== null");
        }
        $this->screenshot($browser, $fleet, 'overview');
        $browser->window(390, 844, true);
        $this->assertSame(390, $browser->evaluate('document.documentElement.scrollWidth'), 'a phone scrolls only inside the tables');
        $this->screenshot($browser, $fleet, 'overview-phone');
        foreach ($fleet as $kind) {
            $browser->click("[id='revoke-long-{$kind}']");
            $browser->waitFor('document.querySelector(".done")?.innerText.includes("long-'.$kind.'")');
            $browser->waitFor("document.getElementById('revoke-long-{$kind}') === null");
            Wait::until('the stored end', 30, static fn (): bool => Celery::result("long-{$kind}")->status() === 'REVOKED');
        }

        // The listener has counted the runs of all workers by the name of the task.
        $browser->window(1200, 800);
        $browser->open("{$address}/celery/history");
        $cell = static fn (string $task, int $column): string => 'document.getElementById("task-'.$task.'")?.closest("tr").cells['.$column.'].innerText';
        $browser->waitFor($cell('proj.fail', 2).' === "'. 2 * count($fleet).'"');
        $browser->waitFor($cell('proj.sleep', 4).' === "'.count($fleet).'"');
        $this->assertGreaterThan(0, $browser->evaluate('document.querySelectorAll("svg rect.key-1").length'));
        $this->assertGreaterThan(0, $browser->evaluate('document.querySelectorAll("svg polyline.key-2").length'));
        $browser->click('[id="task-proj.fail"]');
        $browser->waitFor('document.getElementById("all") !== null');
        $this->screenshot($browser, $fleet, 'history');

        foreach ([$listener, $server, ...$workers] as $program) {
            $program->stop();
        }
    }

    /** @dataProvider kinds */
    #[\PHPUnit\Framework\Attributes\DataProvider('kinds')] // PHPUnit 12 reads no comments.
    public function test_a_user_puts_dead_letters_back(string $kind): void
    {
        // A worker that does not know the tasks.
        $stranger = $this->worker('stranger', "only-{$kind}");
        foreach (['one', 'two', 'three'] as $id) {
            Celery::post('proj.echo', [self::MARKUP, $id], "only-{$kind}", ['id' => $id]);
        }
        [$server, $address] = $this->server('local');
        $browser = new Chromium();
        $browser->open("{$address}/celery/dead");
        $browser->waitFor('document.querySelectorAll("tbody tr").length === 3');
        $stranger->stop();
        $worker = $this->worker($kind);

        // One, from its own page.
        $browser->click("tbody tr:last-child th a");
        $browser->waitFor('document.querySelector("#live pre")?.innerText.includes("one")');
        $this->assertStringContainsString('<script>document.title = ', $browser->evaluate('document.querySelector("#live pre").innerText'));
        $this->assertSame(0, $browser->evaluate('document.querySelectorAll("#live script, #live img").length'));
        $this->screenshot($browser, [$kind], 'letter');
        $browser->click('#live form button');
        $browser->waitFor('document.querySelector(".done")?.innerText.includes("1 message was put back")');
        Wait::until('the replayed task', 60, static fn (): bool => Celery::result('one')->status() === 'SUCCESS');

        // A selection, which stays while the page renews itself.
        $browser->waitFor('document.querySelectorAll("tbody tr").length === 2');
        $browser->evaluate('document.querySelectorAll("tbody input").forEach(box => { box.checked = true; box.renewed = false; }), 1');
        $browser->waitFor('[...document.querySelectorAll("tbody input")].every(box => box.renewed === undefined)');
        $this->assertSame(2, $browser->evaluate('document.querySelectorAll("tbody input:checked").length'));
        $this->screenshot($browser, [$kind], 'dead');
        $browser->click('#replay-selected');
        $browser->waitFor('document.querySelector(".done")?.innerText.includes("2 messages were put back")');
        foreach (['two', 'three'] as $id) {
            Wait::until('the replayed task', 60, static fn (): bool => Celery::result($id)->status() === 'SUCCESS');
        }
        $browser->waitFor('document.getElementById("live").innerText.includes("No dead letters")');

        $server->stop();
        $worker->stop();
    }

    public function test_without_the_gate_a_user_is_refused(): void
    {
        [$server, $address] = $this->server('production');
        $browser = new Chromium();
        $browser->open("{$address}/celery");
        $this->assertSame(403, $browser->evaluate('performance.getEntriesByType("navigation")[0].responseStatus'));
        $this->assertNull($browser->evaluate('document.getElementById("live")'));
        $server->stop();
    }

    /** @return iterable<string, list<string>> */
    public static function fleets(): iterable
    {
        yield 'Rust' => ['rust'];
        yield 'Python' => ['python'];
        yield 'mixed' => ['rust', 'python'];
    }

    /** @return iterable<string, list<string>> */
    public static function kinds(): iterable
    {
        yield 'Rust' => ['rust'];
        yield 'Python' => ['python'];
    }

    /** @return array{Background, string} the server and its address */
    private function server(string $environment): array
    {
        $socket = stream_socket_server('tcp://127.0.0.1:0');
        $address = (string) stream_socket_get_name($socket, false);
        fclose($socket);
        $command = self::php('server.php');
        array_splice($command, -1, 0, ['-S', $address]);
        $server = new Background($command, ['SANDBOX' => $this->sandbox->path, 'BROKER' => $this->url, 'SANDBOX_ENV' => $environment]);
        $server->waitForText('started', 30);

        return [$server, "http://{$address}"];
    }

    /**
     * @param  string  $kind  python, rust, or stranger: a worker in Rust that has none of `proj.*`
     */
    private function worker(string $kind, ?string $queue = null): Background
    {
        try {
            $command = $kind === 'python'
                ? [Programs::python('5.7'), '-m', 'celery', '-A', 'proj', 'worker', '-P', 'prefork']
                : [
                    Programs::path($kind === 'rust' ? 'examples/playground' : 'celery-worker'),
                    '-b', $this->url, '--result-backend', $this->url,
                    ...($kind === 'stranger' ? ['--database', "sqlite://{$this->sandbox->path}/database/database.sqlite"] : []),
                ];
        } catch (RuntimeException $e) {
            $this->markTestSkipped($e->getMessage());
        }
        $worker = new Background(
            [...$command, '-l', 'info', '-E', '-c', '1', '-Q', $queue ?? "only-{$kind}", '-n', "{$kind}@%h"],
            ['REDIS_URL' => $this->url, 'TRANSPORT_OPTIONS' => '{}', 'PYTHONDONTWRITEBYTECODE' => '1', 'PYTHONUNBUFFERED' => '1'],
            Programs::root().'/php-tests/interop/python',
        );
        $worker->waitForText(' ready.', 60);

        return $worker;
    }

    /**
     * @param  list<string>  $fleet
     */
    private function screenshot(Chromium $browser, array $fleet, string $name): void
    {
        $file = Programs::root().'/target/screenshots/dashboard-'.implode('-', $fleet)."-{$name}.png";
        $browser->screenshot($file);
        $this->assertNotFalse(getimagesize($file));
    }

    /**
     * Returns a command of PHP with this one's extension, if it was loaded by an option.
     *
     * @return list<string>
     */
    private static function php(string $program, string ...$arguments): array
    {
        $own = explode("\0", (string) file_get_contents('/proc/self/cmdline'));
        $found = array_values(array_filter($own, static fn (string $option): bool => str_starts_with($option, 'extension=')));

        return [PHP_BINARY, ...($found === [] ? [] : ['-d', $found[0]]), Sandbox::bridge("tests/fixtures/app/{$program}"), ...$arguments];
    }
}
