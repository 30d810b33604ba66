<?php

namespace CeleryTests\PhpUnit;

use CeleryTests\Programs;
use PHPUnit\Framework\TestCase;

/**
 * Checks the first pages of the documentation: their PHP runs with the real worker and prints what
 * they say.
 */
class GettingStartedTest extends TestCase
{
    private const URL = 'redis://localhost:6379/0';

    public function test_readme(): void
    {
        $worker = Programs::playground([], 10);
        $this->assertSame([['5', '6'], ['5', '6']], $this->run_page('README.md', 10));
        $worker->stop();
    }

    public function test_plain_php(): void
    {
        $worker = Programs::playground([], 11);
        [$printed, $said] = $this->run_page('docs/getting-started/plain-php.md', 11);
        $this->assertSame(['5', '9', 'ValueError', '42'], $said);
        $this->assertSame($said, $printed);
        $worker->stop();
    }

    public function test_canvas(): void
    {
        $worker = Programs::playground([], 13);
        [$printed, $said] = $this->run_page('docs/guides/canvas.md', 13, '.*\S');
        $this->assertSame(['16', '2 4', '6', 'Celery\Chord 60', '10100', '9', '16 after 4', '5', '16'], $said);
        $this->assertSame($said, $printed);
        $worker->stop();
    }

    public function test_sql_tasks(): void
    {
        $page = 'docs/getting-started/worker.md';
        $database = Programs::database();
        $database->setAttribute(\PDO::ATTR_ERRMODE, \PDO::ERRMODE_EXCEPTION);
        $database->exec('DROP TABLE IF EXISTS orders');
        foreach (explode(";\n", implode('', self::blocks($page, 'sql')), -1) as $statement) {
            $database->exec($statement);
        }
        $settings = tempnam(sys_get_temp_dir(), 'toml');
        file_put_contents($settings, implode('', self::blocks($page, 'toml')));
        $options = ['--config', $settings, '--database', getenv('DATABASE_URL')];
        $command = [Programs::path('celery-worker'), '--broker', Programs::redisUrl(12), ...$options, 'check'];
        exec(implode(' ', array_map('escapeshellarg', $command)), $findings);
        $announced = strtr(implode('', self::blocks($page, 'text')), [
            self::URL => Programs::redisUrl(12),
            'mysql://app:**@localhost/shop' => preg_replace('~:[^:@/]+@~', ':**@', getenv('DATABASE_URL')),
        ]);
        $this->assertSame(trim($announced), implode("\n", $findings));

        $worker = Programs::worker($options, 12);
        [$printed, $said] = $this->run_page($page, 12);
        $this->assertSame(['1', '1', '2'], $said);
        $this->assertSame($said, $printed);
        $rows = $database->query('SELECT id, state, closed_by FROM orders ORDER BY id')->fetchAll(\PDO::FETCH_NUM);
        $this->assertEquals([[17, 'open', null], [18, 'open', null]], $rows);
        $worker->stop();
        unlink($settings);
    }

    public function test_a_client_that_records(): void
    {
        $blocks = self::blocks('docs/guides/testing.md', 'php');
        $blocks = array_filter($blocks, static fn ($block) => str_contains($block, 'extends Celery'));
        $this->assertCount(1, $blocks);
        $this->expectOutputString('[["close_order",["ann",17]]]' . "\n");
        eval(implode($blocks));
    }

    public function pages(): array
    {
        $root = Programs::root();
        $files = [...glob("$root/*.md"), ...glob("$root/docs/*.md"), ...glob("$root/docs/*/*.md")];
        $files[] = "$root/laravel-bridge/README.md";
        $pages = array_map(static fn ($file) => substr($file, strlen($root) + 1), $files);
        $pages = array_filter($pages, static fn ($page) => self::blocks($page, 'php') !== []);

        return array_combine($pages, array_map(static fn ($page) => [$page], $pages));
    }

    /** @dataProvider pages */
    public function test_every_php_block_parses(string $page): void
    {
        foreach (self::blocks($page, 'php') as $block) {
            try {
                $this->assertNotEmpty(token_get_all('<?php ' . self::bare($block), TOKEN_PARSE));
            } catch (\ParseError $e) {
                $this->fail("{$e->getMessage()} in this block of $page:\n$block");
            }
        }
    }

    /**
     * Runs the PHP of a page as one program.
     *
     * @return array{list<string>, list<string>} the printed lines, and the lines that the page's
     * comments announce
     */
    private function run_page(string $page, int $db, string $what = '\w+'): array
    {
        $code = implode('', array_map(self::bare(...), self::blocks($page, 'php')));
        preg_match_all("~echo .*//\\s+($what)~", $code, $said);
        $this->assertStringContainsString(self::URL, $code);
        ob_start();
        try {
            eval(str_replace(self::URL, Programs::redisUrl($db), $code));
        } finally {
            $printed = ob_get_clean();
        }

        return [explode("\n", trim($printed)), $said[1]];
    }

    /** @return list<string> the fenced blocks of a language */
    private static function blocks(string $page, string $language): array
    {
        preg_match_all("~^```$language\n(.*?)^```$~ms", file_get_contents(Programs::root() . "/$page"), $found);

        return $found[1];
    }

    /** Returns a block without its opening tag. */
    private static function bare(string $block): string
    {
        return preg_replace('~^<\?php\s+~', '', $block);
    }
}
