<?php

namespace CeleryTests\Browser;

use App\Services\LocalWorkers;
use CeleryTests\Application;
use CeleryTests\Background;
use CeleryTests\Browser;
use CeleryTests\Chromium;
use CeleryTests\Programs;
use CeleryTests\Wait;
use PHPUnit\Framework\TestCase;

/**
 * The page /work in Chromium, with real workers.
 */
class WorkPageTest extends TestCase
{
    private const SQUARES = '1 4 9 16 25 36 49 64 81 100 121 144 169 196 225 256';

    private string $folder;
    private Chromium $page;

    protected function setUp(): void
    {
        Application::fresh();
        $this->folder = getenv('DEMO_WORKERS');
        mkdir($this->folder, 0777, true);
        $this->page = new Chromium();
        $this->page->open(getenv('APP_URL') . '/work');
        // Gone if the page is loaded again.
        $this->page->evaluate('window.stayed = true');
    }

    protected function tearDown(): void
    {
        unset($this->page);
        exec('rm -rf ' . escapeshellarg($this->folder));
    }

    /** @return iterable<string, list<string>> */
    public static function kinds(): iterable
    {
        yield 'Rust' => ['rust1'];
        yield 'Python' => ['python1'];
    }

    public function test_a_task_of_the_form_is_completed_live(): void
    {
        $this->page->evaluate('document.querySelector("#task [name=name]").value = "Přečíst <poštu>"');
        $this->page->click('#task button');
        $this->page->waitFor('document.querySelector("#task .status.pending") !== null');
        $this->assertSame('', $this->page->evaluate('document.querySelector("#task [name=name]").value'));

        $worker = Programs::worker(['--database', getenv('DATABASE_URL')]);
        $this->page->waitFor('document.querySelector("#task .status.completed") !== null');
        $this->assertSame('completed Přečíst <poštu> Updated by celery worker!', $this->text('#task .rows li'));
        $this->assertTrue($this->page->evaluate('window.stayed'));
        $worker->stop();
    }

    /** @dataProvider kinds */
    public function test_a_long_task_shows_its_progress(string $name): void
    {
        $worker = $this->worker($name);
        $this->start('long', 'seconds', 60);
        $this->page->waitFor('document.querySelector("#long progress")?.value > 0');
        $this->assertLessThan(100, $this->page->evaluate('document.querySelector("#long progress").value'));
        $this->assertSame('PROGRESS', $this->text('#long .state'));
        $this->assertSame($name, $this->text('#long .worker'));
        $this->assertStringEndsWith('…', $this->text('#long .steps .now'));

        $this->start('long', 'seconds', 1);
        $this->page->waitFor('document.querySelector("#long .state")?.dataset.state === "SUCCESS"');
        $this->assertSame(100, $this->page->evaluate('document.querySelector("#long progress").value'));
        $steps = 'Read the orders Check the addresses Add up Draw the charts Write the report';
        $this->assertSame($steps, preg_replace('/ \d+\.\d+ s/', '', $this->text('#long .steps'), -1, $times));
        $this->assertSame(5, $times);
        $this->assertSame($name, $this->text('#long .worker'));
        $this->assertTrue($this->page->evaluate('window.stayed'));
    }

    /** @dataProvider kinds */
    public function test_a_failure_shows_its_reason(string $name): void
    {
        $worker = $this->worker($name);
        $this->page->click('#fail button');
        $this->page->waitFor('document.querySelector("#fail .state")?.dataset.state === "FAILURE"');
        $this->assertMatchesRegularExpression('/^LookupError: order \d{4} has no address$/', $this->text('#fail .reason'));
        $this->assertSame($name, $this->text('#fail .worker'));
        $this->assertMatchesRegularExpression('/^\d+\.\d+ s after the post$/', $this->text('#fail .time'));
    }

    /** @dataProvider kinds */
    public function test_the_members_of_a_chord_light_up(string $name): void
    {
        $worker = $this->worker($name);
        $this->start('chord', 'seconds', 0);
        $this->page->waitFor('document.querySelector("#chord .sum") !== null');
        $this->assertSame('Σ 1496', $this->text('#chord .sum'));
        $this->assertSame(self::SQUARES, $this->text('#chord .tile b'));
        $this->assertSame(16, $this->lit());
        $kind = rtrim($name, '1');
        $this->assertSame(16, $this->page->evaluate("document.querySelectorAll('#chord .tile.$kind').length"));

        // One after the other: the worker has fewer slots than the chord has members.
        $worker->stop(60);
        $this->start('chord', 'seconds', 3);
        $this->page->waitFor('document.querySelectorAll("#chord .tile[data-state=PENDING]").length === 16');
        $worker = $this->worker($name);
        $this->page->waitFor('document.querySelectorAll("#chord .tile[data-state=SUCCESS]").length > 0');
        $this->assertLessThan(16, $this->lit());
        $this->assertSame('PENDING', $this->text('#chord .state'));
    }

    public function test_no_task_is_lost_when_its_worker_is_killed(): void
    {
        $this->page->evaluate(<<<'JS'
            window.mostLost = 0;
            new MutationObserver(() => {
                const lost = document.querySelector('[data-figure=lost]');
                window.mostLost = Math.max(window.mostLost, Number(lost ? lost.textContent : 0));
            }).observe(document.getElementById('live'), {subtree: true, childList: true, characterData: true});
            JS);
        $worker = $this->worker('rust1');
        $this->start('items', 'milliseconds', 500);
        $this->page->waitFor($this->figure('done') . ' > 0');
        $this->page->waitFor($this->figure('rate') . ' > 0');
        $this->page->click('[data-worker=rust1] .kill');
        Wait::until('the end of the worker', 60, fn () => !$worker->isRunning());
        $this->page->waitFor('document.querySelector("[data-worker=rust1] .kill") === null');

        // It can give nothing back: what it held is still noted as held.
        Wait::until('the page counts what the worker held', 60, function (): bool {
            $held = Programs::redis()->hLen('unacked');

            return $held > 0 && $this->page->evaluate($this->figure('held')) === $held;
        });
        $this->assertLessThan(1000, $this->page->evaluate($this->figure('done')));
        $this->assertSame(0, $this->page->evaluate($this->figure('lost')));

        $second = $this->worker('rust2', ['-c', '100']);
        $this->page->waitFor($this->figure('done') . ' === 1000', 120);
        $this->page->waitFor('document.querySelectorAll("#items .bar .rust").length === 2');
        $this->assertSame(0, $this->page->evaluate('window.mostLost'));
        $count = Programs::database()->query('SELECT COUNT(*) FROM items WHERE done_at IS NOT NULL');
        $this->assertSame(1000, (int) $count->fetchColumn());
        $this->page->waitFor('document.querySelector("[data-worker=rust2]") !== null');
        $this->assertStringContainsString('of the items', $this->text('[data-worker=rust2]'));
        $second->stop();
    }

    public function test_a_missing_task_counts_as_lost(): void
    {
        $this->start('items', 'milliseconds', 0);
        $this->page->waitFor($this->figure('waiting') . ' === 1000');
        Programs::redis()->lTrim('work', 3, -1);
        $this->page->waitFor($this->figure('lost') . ' === 3');
        $this->assertSame(997, $this->page->evaluate($this->figure('waiting')));
    }

    public function test_the_page_kills_only_what_it_may(): void
    {
        $rust = $this->worker('rust1');
        $python = Programs::pythonWorkPage('python1');
        // A file whose worker is gone, and whose number another process has now.
        copy("{$this->folder}/python1.pid", "{$this->folder}/rust9.pid");
        $this->page->waitFor('document.querySelector("[data-worker=python1]") !== null');
        $this->assertSame(['rust1'], $this->page->evaluate('[...document.querySelectorAll(".kill")].map((button) => button.value)'));

        $visitor = new Browser(getenv('APP_URL') . '/work/kill');
        $this->assertSame(419, $visitor->send(['worker' => 'rust1']));
        $token = $this->page->evaluate('document.querySelector("[name=_token]").value');
        $post = fn (string $name): string => "fetch('/work/kill', {method: 'POST', body: new URLSearchParams({_token: '$token', worker: '$name'})})"
            . '.then((answer) => { window.answered = answer.status; })';
        foreach (['python1', 'rust9', 'rust2', '../rust1', ''] as $name) {
            $this->page->evaluate('window.answered = 0; ' . $post($name) . '; 0');
            $this->page->waitFor('window.answered > 0');
            $this->assertSame(404, $this->page->evaluate("window.answered"), $name);
        }
        $this->assertTrue($rust->isRunning());
        $this->assertTrue($python->isRunning());
        $python->stop(60);
    }

    public function test_without_the_folder_nothing_can_be_killed(): void
    {
        $worker = $this->worker('rust1');
        $this->assertSame(['rust1'], array_keys((new LocalWorkers($this->folder))->running()));
        $app = Application::boot();
        $app->make('config')->set('demo.workers', null);
        $this->assertSame([], $app->make(LocalWorkers::class)->running());
        $this->assertFalse($app->make(LocalWorkers::class)->kill('rust1'));
        $this->assertTrue($worker->isRunning());
    }

    public function test_it_fits_a_phone_and_follows_the_dark_mode(): void
    {
        $worker = $this->worker('rust1');
        $this->page->click('#fail button');
        $this->start('chord', 'seconds', 0);
        $this->start('items', 'milliseconds', 0);
        $this->page->waitFor('document.querySelector("#fail .reason") !== null && document.querySelector("#chord .sum") !== null');
        $this->page->waitFor($this->figure('done') . ' === 1000', 120);
        $back = 'getComputedStyle(document.body).backgroundColor';
        $light = $this->page->evaluate($back);
        $this->page->screenshot(Programs::root() . '/target/screenshots/work.png');
        $this->page->window(390, 844, true);
        $this->assertNotSame($light, $this->page->evaluate($back));
        $this->page->waitFor('document.documentElement.scrollWidth <= 390');
        $this->page->screenshot(Programs::root() . '/target/screenshots/work-phone-dark.png');
        $worker->stop();
    }

    /** @param list<string> $options */
    private function worker(string $name, array $options = ['-c', '4']): Background
    {
        return str_starts_with($name, 'python')
            ? Programs::pythonWorkPage($name)
            : Programs::workPage($name, ['--database', getenv('DATABASE_URL'), ...$options]);
    }

    /** Fills in the one number of a card's form and sends it. */
    private function start(string $card, string $field, float $number): void
    {
        $this->page->evaluate("document.querySelector('#$card [name=$field]').value = $number");
        $this->page->click("#$card form button");
    }

    /** Returns the text of all elements, with single spaces. */
    private function text(string $selector): string
    {
        $texts = $this->page->evaluate('[...document.querySelectorAll(' . json_encode($selector) . ')].map((one) => one.textContent).join(" ")');

        return trim(preg_replace('/\s+/', ' ', $texts));
    }

    private function figure(string $name): string
    {
        return "Number(document.querySelector('[data-figure=$name]')?.textContent ?? -1)";
    }

    private function lit(): int
    {
        return $this->page->evaluate('document.querySelectorAll("#chord .tile[data-state=SUCCESS]").length');
    }
}
