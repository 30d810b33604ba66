<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use CeleryBridge\Tests\Support\TestCase;

/**
 * The first steps in an application, without a broker and without the extension.
 */
final class InstallCommandTest extends TestCase
{
    public function test_it_writes_the_file_and_the_address_once(): void
    {
        $this->sandbox->write('.env', 'APP_NAME=Shop');

        [$code, $output] = $this->command('celery:install');
        $this->assertSame(0, $code, $output);
        $this->assertFileEquals(dirname(__DIR__, 2).'/config/celery.php', "{$this->sandbox->path}/config/celery.php");
        $this->assertSame("APP_NAME=Shop\nCELERY_BROKER_URL=redis://127.0.0.1:6379/0\n", $this->env());
        foreach (['php artisan migrate', 'php artisan celery:doctor'] as $step) {
            $this->assertStringContainsString($step, $output);
        }

        $this->sandbox->write('config/celery.php', '<?php return [];');
        [$code, $output] = $this->command('celery:install', ['--url' => 'redis://other']);
        $this->assertSame([0, '<?php return [];'], [$code, file_get_contents("{$this->sandbox->path}/config/celery.php")]);
        $this->assertStringContainsString('already', $output);
        $this->assertStringNotContainsString('other', $this->env());
    }

    public function test_an_address_is_quoted_where_the_file_needs_it(): void
    {
        $url = 'sentinel://:p"a$s#s@a;sentinel://b?master_name=m';
        $this->command('celery:install', ['--url' => $url]);

        $this->assertSame(['CELERY_BROKER_URL' => $url], \Dotenv\Dotenv::parse($this->env()));
    }

    public function test_it_says_what_it_cannot_write(): void
    {
        // A link into a folder that does not exist: even root cannot write there.
        $file = "{$this->sandbox->path}/config/celery.php";
        symlink("{$this->sandbox->path}/nowhere/celery.php", $file);
        [$code, $output] = $this->quietly('celery:install');
        $this->assertSame(1, $code, $output);
        $this->assertStringContainsString('config/celery.php cannot be written', $output);
        $this->assertStringNotContainsString('Wrote', $output);

        unlink($file);
        unlink("{$this->sandbox->path}/.env");
        symlink("{$this->sandbox->path}/nowhere/.env", "{$this->sandbox->path}/.env");
        [$code, $output] = $this->quietly('celery:install');
        $this->assertSame(1, $code, $output);
        $this->assertStringContainsString('.env cannot be written', $output);
        $this->assertStringNotContainsString('Wrote CELERY_BROKER_URL', $output);
    }

    /**
     * Runs a command where PHP's warnings are not exceptions, as in an application with its own handler.
     *
     * @return array{int, string}
     */
    private function quietly(string $command): array
    {
        set_error_handler(static fn (): bool => true);
        try {
            return $this->command($command);
        } finally {
            restore_error_handler();
        }
    }

    private function env(): string
    {
        return (string) file_get_contents("{$this->sandbox->path}/.env");
    }
}
