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

    private function env(): string
    {
        return (string) file_get_contents("{$this->sandbox->path}/.env");
    }
}
