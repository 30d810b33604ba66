<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use FilesystemIterator;
use PHPUnit\Framework\TestCase;
use RecursiveCallbackFilterIterator;
use RecursiveDirectoryIterator;
use RecursiveIteratorIterator;
use SplFileInfo;

/**
 * The commands with which the pages run tests can be copied: they name programs that are there.
 */
final class DevelopmentTest extends TestCase
{
    public function test_the_package_names_its_own_suite(): void
    {
        $this->assertContains('scripts/test laravel', self::commands('laravel-bridge/README.md'));
    }

    /** @dataProvider pages */
    #[\PHPUnit\Framework\Attributes\DataProvider('pages')] // PHPUnit 12 reads no comments.
    public function test_each_suite_that_a_page_names_exists(string $page): void
    {
        exec(escapeshellarg(self::root().'/scripts/test').' --help', $help);
        preg_match('/a suite: ([\w ]+) \(default/', preg_replace('/\s+/', ' ', implode(' ', $help)), $suites);
        $this->assertNotEmpty($suites);
        foreach (self::commands($page) as $command) {
            preg_match('~scripts/test((?: [a-z]+)*)~', $command, $named);
            foreach (array_filter(explode(' ', $named[1] ?? '')) as $name) {
                $this->assertContains($name, explode(' ', $suites[1]), "$page: $command");
            }
        }
        $this->addToAssertionCount(1);
    }

    /** @dataProvider pages */
    #[\PHPUnit\Framework\Attributes\DataProvider('pages')] // PHPUnit 12 reads no comments.
    public function test_no_page_expects_a_built_program_on_the_path(string $page): void
    {
        foreach (self::commands($page) as $command) {
            $this->assertDoesNotMatchRegularExpression('/^(\w+=\S+ )*testkit /', $command, $page);
        }
        $this->addToAssertionCount(1);
    }

    /** @return iterable<string, list<string>> */
    public static function pages(): iterable
    {
        // Git does not know its files in a copy, and is not installed everywhere. What is built is left out.
        $own = static fn (SplFileInfo $file): bool => preg_match('/^(\.(?!github$)|(target|vendor|node_modules)$)/', $file->getFilename()) === 0;
        $folder = new RecursiveDirectoryIterator(self::root(), FilesystemIterator::SKIP_DOTS);
        foreach (new RecursiveIteratorIterator(new RecursiveCallbackFilterIterator($folder, $own)) as $file) {
            if ($file->getExtension() === 'md') {
                $page = substr($file->getPathname(), strlen(self::root()) + 1);
                yield $page => [$page];
            }
        }
    }

    /** @return list<string> the commands of a page: the lines of its blocks, and code between ticks */
    private static function commands(string $page): array
    {
        $text = (string) file_get_contents(self::root()."/$page");
        preg_match_all('~^```(?:sh|console)\n(.*?)^```$|^    (\S.*)$|`([^`\n]+(?:\n[^`\n]+)?)`~ms', $text, $found);
        $lines = preg_split('/\n/', implode("\n", array_merge($found[1], $found[2], str_replace("\n", ' ', $found[3]))));

        return array_map(fn (string $line): string => trim(preg_replace('/^\$ |\s+#.*/', '', trim($line))), $lines);
    }

    private static function root(): string
    {
        return dirname(__DIR__, 3);
    }
}
