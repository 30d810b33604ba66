<?php

namespace CeleryTests\Fpm;

use CeleryTests\FpmTestCase;

/**
 * The precedence of settings: a request's own, a site's, a pool's.
 */
class SettingsTest extends FpmTestCase
{
    public function test_ini_set_ends_with_its_request(): void
    {
        $fpm = self::fpm();
        $set = [
            'default_queue' => 'elsewhere', 'task_protocol' => '1', 'publish' => 'pipelined', 'post_timeout' => '7',
            'connect_timeout' => '1', 'command_timeout' => '7', 'result_timeout' => '7', 'keep_results' => '1',
            'max_connections' => '1', 'idle_check' => '1', 'replicas' => '0', 'ca_file' => '/nowhere',
            'key_prefix' => 'never.', 'broker_url' => 'redis://never', 'result_backend' => 'redis://never',
        ];
        $first = $fpm->get('settings.php', ['set' => $set])->told();
        $this->assertSame(array_fill_keys(['key_prefix', 'broker_url', 'result_backend'], false), array_filter(
            $first['changed'],
            fn ($changed) => !$changed
        ));
        $this->assertSame(1, $this->redis->lLen('elsewhere'));
        $this->assertSame($first['posted'], json_decode(base64_decode(
            json_decode($this->redis->lIndex('elsewhere', 0))->body
        ))->id);

        $second = $fpm->get('settings.php')->told();
        $this->assertSame([$first['pid'], $first['before']], [$second['pid'], $second['before']]);
        $this->assertSame([$second['posted']], $this->queued());
    }

    public function test_a_memory_limit_is_not_the_next_requests(): void
    {
        $fpm = self::fpm();
        self::store($this->redis, 'small', 'small');
        self::store($this->redis, 'large', str_repeat('x', 24 << 20));
        $small = $fpm->get('limited.php', ['id' => 'small', 'limit' => '16M'])->told();
        $large = $fpm->get('limited.php', ['id' => 'large', 'limit' => '256M'])->told();
        $this->assertSame(['read' => 24 << 20, 'pid' => $small['pid']], $large);

        // The other order: a request with enough memory opens the connection, one without uses it.
        $small = $fpm->get('limited.php', ['id' => 'small', 'limit' => '256M'])->told();
        $large = $fpm->get('limited.php', ['id' => 'large', 'limit' => '16M'])->told();
        $this->assertSame([\CeleryException::class, $small['pid']], [$large['thrown'] ?? $large, $large['pid']]);
    }

    public function test_pools_do_not_mix(): void
    {
        $pool = fn (string $name) => [
            'php_admin_value[celery.key_prefix]' => "$name.",
            'php_admin_value[celery.default_queue]' => "$name-tasks",
            'php_admin_value[celery.publish]' => $name === 'red' ? 'pipelined' : 'once',
        ];
        $fpm = self::fpm(['red' => $pool('red'), 'blue' => $pool('blue')]);
        self::store($this->redis, 'known', 6, 'red.');
        self::store($this->redis, 'known', 7, 'blue.');
        $posted = $pids = [];
        foreach (['red', 'blue', 'red', 'blue'] as $name) {
            $told = $fpm->get('works.php', [], $name)->told();
            $this->assertSame(['red' => 6, 'blue' => 7][$name], $told['read']);
            $posted[$name][] = $told['posted'];
            $pids[$name][] = $told['pid'];
        }
        foreach (['red', 'blue'] as $name) {
            $this->assertSame($posted[$name], $this->queued("$name.$name-tasks"));
            $this->assertCount(1, array_unique($pids[$name]));
            // A page cannot change a setting of the administrator.
            $told = $fpm->get('settings.php', ['set' => ['default_queue' => 'other', 'publish' => 'confirmed']], $name)->told();
            $this->assertSame(['default_queue' => false, 'publish' => false], $told['changed']);
        }
        $this->assertNotSame($pids['red'][0], $pids['blue'][0]);
        $this->assertSame(0, $this->redis->exists('celery', 'red.other', 'blue.other'));
    }

    public function test_sites_of_one_process_do_not_mix(): void
    {
        $fpm = self::fpm();
        self::store($this->redis, 'known', 8, 'site.');
        $plain = $fpm->get('works.php')->told();
        $prefixed = $fpm->get('prefixed/site.php', ['page' => 'works'])->told();
        $this->assertSame([5, 8, $plain['pid']], [$plain['read'], $prefixed['read'], $prefixed['pid']]);
        $again = $fpm->get('works.php')->told();
        $this->assertSame([$plain['posted'], $again['posted']], $this->queued());
        $this->assertSame([$prefixed['posted']], $this->queued('site.celery'));
    }

    public function test_a_stored_result_finds_no_client_of_another_request(): void
    {
        $url = "redis://page:x@127.0.0.1:{$this->redis->getPort()}/0";
        $fpm = self::fpm(['www' => [], 'configured' => ['php_admin_value[celery.result_backend]' => "\"$url\""]]);
        self::store($this->redis, 'known', 8, 'site.');
        $text = $fpm->get('stored.php')->told()['text'];
        foreach (['www', 'configured'] as $pool) {
            // The page uses a key prefix of its own, on the server that the process is connected
            // to.
            $told = $fpm->get('prefixed/site.php', ['page' => 'stored', 'text' => $text, 'construct' => 1], $pool)->told();
            $this->assertSame(8, $told['read']);
        }
        $this->assertSame(5, $fpm->get('stored.php', ['text' => $text], 'configured')->told()['read']);
        $unknown = $fpm->get('stored.php', ['text' => $text])->told();
        $this->assertStringContainsString('is not known here', $unknown['thrown']);
        $this->assertSame(5, $fpm->get('stored.php', ['text' => $text, 'construct' => 1])->told()['read']);
    }
}
