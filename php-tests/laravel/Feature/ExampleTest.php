<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use PHPUnit\Framework\TestCase;

/**
 * The example application requires a Laravel that is still supported, and boots on older ones.
 */
final class ExampleTest extends TestCase
{
    public function test_composer_chooses_a_supported_version(): void
    {
        $package = json_decode((string) file_get_contents(self::folder().'/composer.json'), true);

        $this->assertSame('^12 || ^13', $package['require']['laravel/framework']);
    }

    /** `make test` runs this on 8.83, `make matrix` on 10 to 13. */
    public function test_it_boots_on_this_version(): void
    {
        if (getenv('LARAVEL_AUTOLOAD') !== false) {
            $this->markTestSkipped('the example takes the framework of its own vendor folder, or Debian\'s');
        }

        $this->assertStringContainsString('Laravel Framework '.\Illuminate\Foundation\Application::VERSION, $this->artisan('--version'));
        $this->assertStringContainsString('tasks:create', $this->artisan('list', '--raw'));
        $this->assertStringContainsString('TasksController', $this->artisan('route:list'));
    }

    /** Each version since 8 boots an application that has these two classes. */
    public function test_it_keeps_the_classic_skeleton(): void
    {
        foreach (['Http', 'Console'] as $kind) {
            $this->assertStringContainsString("App\\$kind\\Kernel::class", (string) file_get_contents(self::folder().'/bootstrap/app.php'));
            $this->assertFileExists(self::folder()."/app/$kind/Kernel.php");
        }
    }

    private function artisan(string ...$arguments): string
    {
        $command = implode(' ', array_map('escapeshellarg', [PHP_BINARY, self::folder().'/artisan', ...$arguments]));
        exec("$command 2>&1", $lines, $code);
        $this->assertSame(0, $code, implode("\n", $lines));

        return implode("\n", $lines);
    }

    private static function folder(): string
    {
        return dirname(__DIR__, 3).'/examples/laravel-tasks';
    }
}
