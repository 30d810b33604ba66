<?php

namespace CeleryTests\PhpUnit;

use CeleryTests\Background;
use CeleryTests\Programs;
use PHPUnit\Framework\TestCase;

/**
 * Runs the programs in examples/php with the example worker. Each prints what its head comment says.
 */
class ExamplesTest extends TestCase
{
    private const DB = 9;

    private static ?Background $worker = null;

    public static function setUpBeforeClass(): void
    {
        self::$worker = Programs::playground([], self::DB);
    }

    public static function tearDownAfterClass(): void
    {
        self::$worker?->stop();
        self::$worker = null;
    }

    public static function programs(): array
    {
        $files = glob(Programs::root() . '/examples/php/*.php');
        $names = array_map('basename', $files);

        return array_combine($names, array_map(static fn ($file) => [$file], $files));
    }

    /** @dataProvider programs */
    public function test_it_prints_what_its_comment_says(string $file): void
    {
        $this->assertSame(1, preg_match('~^ \* Prints:\n \*\n(.*?)^ \*/~ms', file_get_contents($file), $found));
        $expected = preg_replace('~^ \*(?:     )?~m', '', $found[1]);
        $this->assertNotSame('', trim($expected));

        putenv('CELERY_BROKER_URL=' . Programs::redisUrl(self::DB));
        ob_start();
        try {
            (static function () use ($file) {
                require $file;
            })();
        } finally {
            $printed = ob_get_clean();
            putenv('CELERY_BROKER_URL');
        }
        $this->assertSame($expected, $printed);
    }

    public function test_every_example_is_in_the_index(): void
    {
        $index = file_get_contents(Programs::root() . '/examples/README.md');
        $examples = [...glob(Programs::root() . '/examples/php/*.php'), ...glob(Programs::root() . '/worker/examples/*')];
        $this->assertNotEmpty($examples);
        foreach ($examples as $example) {
            $this->assertStringContainsString(basename(dirname($example)) . '/' . basename($example) . ')', $index);
        }
    }
}
