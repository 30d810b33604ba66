<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use PHPUnit\Framework\TestCase;
use RecursiveDirectoryIterator;
use RecursiveIteratorIterator;

/**
 * What composer.json declares is what the code uses.
 */
final class PackageTest extends TestCase
{
    public function test_every_package_that_the_code_uses_is_declared_and_no_other(): void
    {
        $required = $this->composer()['require'];
        unset($required['php']);

        $this->assertEqualsCanonicalizing(array_keys($required), $this->packages('Illuminate\\', 'Symfony\\'));
    }

    public function test_what_the_code_can_do_without_is_suggested(): void
    {
        $suggested = $this->composer()['suggest'];

        foreach ($this->packages('Celery', 'Laravel\\Octane\\', 'Laravel\\Pulse\\', 'Livewire\\', 'OpenTelemetry\\', 'PHPUnit\\', 'pcntl_') as $package) {
            $this->assertArrayHasKey($package, $suggested);
            $this->assertArrayNotHasKey($package, $this->composer()['require']);
        }
    }

    public function test_the_code_uses_no_other_package(): void
    {
        $this->assertSame([], $this->packages());
    }

    /**
     * Every version of Laravel that the workflow runs on is allowed, and every allowed one is run.
     */
    public function test_the_workflow_runs_on_every_laravel_that_is_allowed(): void
    {
        $allowed = $this->composer()['require']['laravel/framework'];
        preg_match_all('/laravel: "(\d+)/', (string) file_get_contents($this->path('.github/workflows/tests.yml')), $run);
        preg_match_all('/\^(\d+)/', $allowed, $majors);

        $this->assertSame($majors[1], $run[1]);
    }

    /**
     * Returns the packages of the names in the code. Without arguments: of the names that none of the
     * known prefixes fits.
     *
     * @return list<string>
     */
    private function packages(string ...$prefixes): array
    {
        $known = ['CeleryBridge\\', 'Illuminate\\', 'Symfony\\', 'Celery', 'Laravel\\Octane\\', 'Laravel\\Pulse\\', 'Livewire\\', 'OpenTelemetry\\', 'PHPUnit\\', 'pcntl_'];
        $packages = [];

        foreach ($this->names() as $name) {
            $prefix = $this->prefix($name, $known);
            if ($prefix === null && $prefixes === [] && str_contains($name, '\\')) {
                $packages[$name] = true;
            } elseif ($prefix !== null && in_array($prefix, $prefixes, true)) {
                $packages[$this->package($name, $prefix)] = true;
            }
        }

        return array_keys($packages);
    }

    private function package(string $name, string $prefix): string
    {
        return match ($prefix) {
            // Its components have no package for what the framework has in Illuminate\Foundation.
            'Illuminate\\' => 'laravel/framework',
            'Symfony\\' => 'symfony/'.strtolower((string) preg_replace('/(?<!^)[A-Z]/', '-$0', explode('\\', $name)[2])),
            'Laravel\\Octane\\' => 'laravel/octane',
            'Laravel\\Pulse\\', 'Livewire\\' => 'laravel/pulse',
            'OpenTelemetry\\' => 'open-telemetry/api',
            'PHPUnit\\' => 'phpunit/phpunit',
            'pcntl_' => 'ext-pcntl',
            default => 'ext-celery',
        };
    }

    /**
     * @param  list<string>  $known
     */
    private function prefix(string $name, array $known): ?string
    {
        foreach ($known as $prefix) {
            if (str_starts_with($name, $prefix)) {
                return $prefix;
            }
        }

        return null;
    }

    /**
     * Returns the names that the code imports or writes in full, and the names of functions.
     *
     * @return list<string>
     */
    private function names(): array
    {
        $names = [];

        foreach (['config', 'database', 'routes', 'src'] as $folder) {
            $files = new RecursiveIteratorIterator(new RecursiveDirectoryIterator($this->path($folder), RecursiveDirectoryIterator::SKIP_DOTS));
            foreach ($files as $file) {
                $code = (string) file_get_contents((string) $file);
                preg_match_all('/^use (?:function )?([\w\\\\]+)|(?<![\w\\\\])\\\\([A-Z]\w+\\\\[\w\\\\]+)|\b(pcntl_\w+)/m', $code, $found);
                $names += array_fill_keys(array_filter(array_merge(...array_slice($found, 1))), true);
            }
        }

        return array_keys($names);
    }

    /**
     * @return array<string, mixed>
     */
    private function composer(): array
    {
        return json_decode((string) file_get_contents($this->path('composer.json')), true);
    }

    private function path(string $name): string
    {
        return dirname(__DIR__, 2)."/{$name}";
    }
}
