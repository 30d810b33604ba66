<?php

namespace CeleryTests\Interop;

use CeleryTests\Background;
use CeleryTests\Programs;
use PHPUnit\Framework\TestCase;

/**
 * The PHP in guides that need a worker runs against Python's and ours, and prints what the page says.
 */
class GuidesTest extends TestCase
{
    private const DB = 15;
    /** The pages, and the least number of lines that each prints. */
    private const PAGES = ['results' => 11, 'celery-for-php' => 5, 'php-for-celery' => 6];
    private const WORKERS = ['playground', '5.7'];

    private static ?Background $worker = null;
    private static string $running = '';

    public static function tearDownAfterClass(): void
    {
        self::$worker?->stop();
        self::$worker = null;
    }

    public function pages(): iterable
    {
        foreach (self::WORKERS as $worker) {
            foreach (self::PAGES as $page => $lines) {
                yield "$page on $worker" => [$page, $lines, $worker];
            }
        }
    }

    /** @dataProvider pages */
    public function test_the_page_prints_what_it_says(string $page, int $lines, string $worker): void
    {
        if (self::$running !== $worker) {
            self::$worker?->stop();
            self::$worker = $worker === 'playground' ? Programs::playground([], self::DB) : Programs::pythonWorker($worker, self::DB);
            self::$running = $worker;
        }
        $text = file_get_contents(Programs::root() . "/docs/guides/$page.md");
        preg_match_all('/^```php\n(.*?)^```$/ms', $text, $blocks);
        $code = implode($blocks[1]);
        preg_match_all('#^ *echo .*; // (.*)$#m', $code, $said);
        $this->assertGreaterThanOrEqual($lines, count($said[1]));
        $this->expectOutputString(implode("\n", $said[1]) . "\n");
        eval(str_replace("'redis://localhost'", var_export(Programs::redisUrl(self::DB), true), $code));
    }
}
