<?php

namespace CeleryTests\Browser;

use CeleryTests\Application;
use CeleryTests\Browser;
use CeleryTests\Programs;
use CeleryTests\Wait;
use PHPUnit\Framework\TestCase;

/**
 * The page as Chromium shows it. The test leaves its screenshots in target/screenshots.
 */
class ChromiumTest extends TestCase
{
    private string $profile;

    protected function setUp(): void
    {
        Application::fresh();
        $this->profile = sys_get_temp_dir() . '/chromium-' . bin2hex(random_bytes(6));
    }

    protected function tearDown(): void
    {
        exec('rm -rf ' . escapeshellarg($this->profile));
    }

    private function chromium(string ...$options): string
    {
        $command = [
            'timeout', '60', 'chromium', '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage',
            '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update',
            '--disable-sync', '--hide-scrollbars', '--window-size=900,700', "--user-data-dir={$this->profile}",
            ...$options, getenv('APP_URL'),
        ];
        $process = proc_open($command, [1 => ['pipe', 'w'], 2 => ['file', '/dev/null', 'w']], $pipes);
        $output = stream_get_contents($pipes[1]);
        $this->assertSame(0, proc_close($process), 'chromium failed');

        return $output;
    }

    private function screenshot(string $name): string
    {
        $folder = Programs::root() . '/target/screenshots';
        is_dir($folder) || mkdir($folder, 0777, true);
        $file = "$folder/$name.png";
        @unlink($file);
        $this->chromium("--screenshot=$file");

        return $file;
    }

    public function test_a_task_goes_from_pending_to_completed(): void
    {
        $visitor = new Browser(getenv('APP_URL'));
        $visitor->create('Order paper');
        $visitor->create('Přečíst poštu 📬');
        $this->assertSame(['pending', 'pending'], array_column(Browser::rows($this->chromium('--dump-dom')), 2));
        $pending = $this->screenshot('pending');

        $worker = Programs::worker(['--database', getenv('DATABASE_URL')]);
        Wait::until('completed tasks', 60, fn () => !str_contains($visitor->get(), 'class="status pending"'));
        $rows = Browser::rows($this->chromium('--dump-dom'));
        $this->assertSame(
            [
                ['2', 'Přečíst poštu 📬', 'completed', 'Updated by celery worker!'],
                ['1', 'Order paper', 'completed', 'Updated by celery worker!'],
            ],
            $rows
        );
        $completed = $this->screenshot('completed');
        $worker->stop();

        foreach ([$pending, $completed] as $file) {
            $this->assertSame([900, 700], array_slice(getimagesize($file), 0, 2));
        }
        $this->assertNotSame(md5_file($pending), md5_file($completed));
    }
}
