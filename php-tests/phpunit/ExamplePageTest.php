<?php

namespace CeleryTests\PhpUnit;

use CeleryTests\Application;
use CeleryTests\Browser;
use CeleryTests\Programs;
use CeleryTests\Wait;
use PHPUnit\Framework\TestCase;

/**
 * The example application's page over HTTP, served by PHP-FPM.
 */
class ExamplePageTest extends TestCase
{
    private Browser $browser;

    protected function setUp(): void
    {
        Application::fresh();
        $this->browser = new Browser(getenv('APP_URL'));
    }

    public function test_an_empty_page(): void
    {
        $html = $this->browser->get();
        $this->assertSame(200, $this->browser->status);
        $this->assertStringContainsString('No tasks yet.', $html);
        $this->assertStringNotContainsString('http-equiv="refresh"', $html);
    }

    public function test_a_task_is_pending_until_a_worker_completes_it(): void
    {
        $rows = Browser::rows($html = $this->browser->create('Přečíst <poštu>'));
        $this->assertSame([['1', 'Přečíst <poštu>', 'pending', '']], $rows);
        $this->assertStringContainsString('http-equiv="refresh"', $html);

        $worker = Programs::worker(['--database', getenv('DATABASE_URL')]);
        $rows = Wait::until('a completed task', 60, function () {
            $rows = Browser::rows($this->browser->get());

            return $rows[0][2] === 'completed' ? $rows : null;
        });
        $this->assertSame([['1', 'Přečíst <poštu>', 'completed', 'Updated by celery worker!']], $rows);
        $worker->stop();
    }

    public function test_a_name_is_required(): void
    {
        $html = $this->browser->create('');
        $this->assertStringContainsString('aria-invalid="true"', $html);
        $this->assertSame([], Browser::rows($html));
        $this->assertSame(0, Programs::redis()->lLen('celery'));
    }
}
