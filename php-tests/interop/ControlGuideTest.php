<?php

namespace CeleryTests\Interop;

use CeleryTests\Programs;
use CeleryTests\Wait;
use PHPUnit\Framework\TestCase;

/**
 * The PHP in docs/guides/control.md runs against a worker, and prints what the page says.
 */
class ControlGuideTest extends TestCase
{
    private const DB = 14;

    public function test_the_page_prints_what_it_says(): void
    {
        $worker = Programs::playground(['-n', 'celery@web1'], self::DB);
        $url = Programs::redisUrl(self::DB);
        Wait::until('the worker', 30, fn () => (new \Celery\Client($url))->control()->ping() !== []);
        preg_match_all('/^```php\n(.*?)^```$/ms', file_get_contents(Programs::root() . '/docs/guides/control.md'), $blocks);
        $this->expectOutputString(implode("\n", [
            'celery@web1: pong',
            'celery@web1: 0 running',
            'has proj.add',
            'new rate limit set successfully',
            'unknown task',
            'task-received on celery@web1',
            'task-succeeded on celery@web1',
            '5',
            '',
        ]));
        eval(str_replace("'redis://localhost'", "'$url'", implode($blocks[1])));
        $worker->stop();
    }
}
