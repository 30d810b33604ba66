<?php

namespace CeleryTests\Interop;

use Celery\Client;
use Celery\Interval;
use Celery\Schedules;
use CeleryTests\Background;
use CeleryTests\Programs;
use CeleryTests\Wait;
use PHPUnit\Framework\TestCase;

/**
 * PHP adds entries, and a worker of ours that runs with `-B` sends their tasks.
 */
class SchedulesTest extends TestCase
{
    private const DB = 10;
    private ?string $settings = null;
    private ?Background $worker = null;

    protected function setUp(): void
    {
        Programs::redis(self::DB)->flushDB();
    }

    protected function tearDown(): void
    {
        $this->worker = null;
        Programs::redis(self::DB)->flushDB();
        if ($this->settings !== null) {
            unlink($this->settings);
        }
    }

    private function client(): Client
    {
        return new Client(Programs::redisUrl(self::DB));
    }

    private function start(string $settings): void
    {
        $this->settings = tempnam(sys_get_temp_dir(), 'settings');
        file_put_contents($this->settings, $settings);
        $this->worker = Programs::playground(['-B', '--config', $this->settings, '-c', '2'], self::DB);
    }

    private function sent(Schedules $schedules, string $name): int
    {
        return $schedules->get($name)->sent;
    }

    public function test_an_entry_fires_until_it_is_disabled(): void
    {
        $client = $this->client();
        $schedules = $client->schedules();
        $this->start('');
        $task = $client->signature('proj.echo', ['from PHP'], ['k' => 1])->set(headers: ['tenant' => 'acme']);
        $schedules->add('often', new Interval(0.2), $task);
        Wait::until('three messages', 60, fn () => $this->sent($schedules, 'often') >= 3);

        // A worker has run each of them, with the arguments from PHP.
        $redis = Programs::redis(self::DB);
        Wait::until('a result', 60, fn () => count($redis->keys('celery-task-meta-*')) >= 3);
        $id = substr($redis->keys('celery-task-meta-*')[0], strlen('celery-task-meta-'));
        $this->assertSame(['args' => ['from PHP'], 'kwargs' => ['k' => 1]], $client->result($id)->get(timeout: 60));
        $this->assertNotNull($schedules->get('often')->lastSent);
        $this->assertNotNull($schedules->get('often')->nextDue);

        $schedules->disable('often');
        $sent = $this->sent($schedules, 'often');
        $this->assertNull($schedules->get('often')->nextDue);

        // Another entry shows that the leader goes on. It is due later than the disabled one would be.
        $schedules->add('other', new Interval(0.5), $client->signature('proj.echo', [1]));
        Wait::until('two messages of the other', 60, fn () => $this->sent($schedules, 'other') >= 2);
        $this->assertSame($sent, $this->sent($schedules, 'often'));

        $schedules->enable('often');
        Wait::until('one more', 60, fn () => $this->sent($schedules, 'often') > $sent);
        $this->assertTrue($schedules->remove('often'));
        $this->assertTrue($schedules->remove('other'));
        $this->assertSame([], $schedules->list());
    }

    public function test_the_guide_prints_what_it_says(): void
    {
        $text = file_get_contents(Programs::root() . '/docs/guides/schedules.md');
        preg_match_all('/^```php\n(.*?)^```$/ms', $text, $code);
        preg_match_all('/^```text\n(.*?)^```$/ms', $text, $said);
        $this->expectOutputString(implode($said[1]));
        eval(str_replace("'redis://localhost'", var_export(Programs::redisUrl(self::DB), true), implode($code[1])));
        $this->assertSame(['report'], array_keys($this->client()->schedules()->list()));
    }

    public function test_entries_of_the_settings_are_listed(): void
    {
        $schedules = $this->client()->schedules();
        $this->start(<<<'TOML'
            [schedules.nightly]
            task = "proj.clean"
            schedule = "0 4 * * mon-fri"
            timezone = "Europe/Berlin"
            args = [1, { deep = true }]
            options = { queue = "night", expires = 3600 }
            missed = "all"

            [schedules.hourly]
            task = "proj.look"
            schedule = "1h"
            relative = true
            enabled = false
            TOML);
        Wait::until('the entries', 60, fn () => ($schedules->list()['nightly'] ?? null)?->nextDue !== null);
        ['hourly' => $hourly, 'nightly' => $nightly] = $schedules->list();

        $this->assertSame(['minute' => '0', 'hour' => '4', 'day_of_month' => '*', 'month_of_year' => '*', 'day_of_week' => 'mon-fri'], $nightly->schedule->jsonSerialize());
        $this->assertSame([1, ['deep' => true]], $nightly->args);
        $this->assertSame(['queue' => 'night', 'expires' => 3600.0], $nightly->options);
        $this->assertSame(['Europe/Berlin', \Celery\Missed::All, true, true], [$nightly->timezone, $nightly->missed, $nightly->enabled, $nightly->fromFile]);
        $local = $nightly->nextDue->setTimezone(new \DateTimeZone('Europe/Berlin'));
        $this->assertSame('04:00:00', $local->format('H:i:s'));
        $this->assertEquals(new Interval(3600, relative: true), $hourly->schedule);
        $this->assertSame([false, null, 0, null], [$hourly->enabled, $hourly->nextDue, $hourly->sent, $hourly->lastSent]);
        $this->assertSame([], $schedules->unreadable());
    }
}
