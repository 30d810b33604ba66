<?php

namespace CeleryTests\Browser;

use CeleryTests\Application;
use CeleryTests\Background;
use CeleryTests\Browser;
use CeleryTests\Programs;
use CeleryTests\Wait;
use PHPUnit\Framework\TestCase;

/**
 * `make demo OPEN=1`: after its story everything stays up until Ctrl-C.
 */
class DemoTest extends TestCase
{
    public function test_it_stays_up_until_ctrl_c(): void
    {
        Application::fresh();
        $folder = getenv('DEMO_WORKERS');
        $demo = new Background([Programs::root() . '/scripts/demo'], ['OPEN' => '1', 'WORKER' => 'rust']);
        $page = getenv('APP_URL') . '/work';
        $demo->waitForText("Look at $page\nCtrl-C stops", 180);

        $visitor = new Browser($page);
        $this->assertStringContainsString('data-worker="rust1"', $visitor->get());
        $pids = array_map(static fn (string $file): int => (int) file_get_contents($file), glob("$folder/*.pid"));
        $this->assertCount(2, $pids);
        foreach ($pids as $pid) {
            $this->assertTrue(posix_kill($pid, 0));
        }

        $demo->signal(SIGINT);
        Wait::until('the end of the demo', 120, fn () => !$demo->isRunning());
        foreach ($pids as $pid) {
            $this->assertFalse(posix_kill($pid, 0), 'a worker outlived the demo');
        }
        $this->assertDirectoryDoesNotExist($folder);
        $this->assertStringContainsString('Stopped.', $demo->log());
        $this->assertStringNotContainsString('not ok', $demo->log());
    }
}
