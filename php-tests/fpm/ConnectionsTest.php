<?php

namespace CeleryTests\Fpm;

use CeleryTests\FpmTestCase;
use CeleryTests\RedisServer;

/**
 * Connections outlive requests, as long as Redis keeps them.
 */
class ConnectionsTest extends FpmTestCase
{
    public function test_hundreds_of_requests_use_one_connection_and_no_more_memory(): void
    {
        $fpm = self::fpm();
        $first = $fpm->get('posts.php')->told();
        $asks = self::connections($this->redis);
        $this->assertCount(1, $asks);
        for ($i = 0; $i < 100; ++$i) {
            $this->assertSame($first['pid'], $fpm->get('posts.php')->told()['pid']);
        }
        $this->assertSame($asks, self::connections($this->redis));

        // Waiting for a result uses the same connection.
        for ($i = 0; $i < 100; ++$i) {
            $warm = $fpm->get('works.php')->told();
        }
        $this->assertSame($asks, self::connections($this->redis));
        for ($i = 0; $i < 500; ++$i) {
            $last = $fpm->get('works.php')->told();
        }
        $this->assertSame($asks, self::connections($this->redis));
        $this->assertSame([$first['pid'], $warm['php']], [$last['pid'], $last['php']]);
        // The process may grow by 400 kB, which is less than 1 kB for each request.
        $this->assertLessThan($warm['resident'] + 400, $last['resident']);
        $this->assertSame(701, $this->redis->lLen('celery'));
    }

    public function test_each_process_has_its_own(): void
    {
        $fpm = self::fpm(['www' => ['pm.max_children' => 4]]);
        $requests = array_map(fn ($id) => $fpm->begin('waits.php', ['id' => $id]), range(1, 4));
        array_map(fn ($id) => $this->waitForReader((string) $id), range(1, 4));
        foreach (range(1, 4) as $id) {
            self::store($this->redis, (string) $id, $id);
        }
        $told = array_map(fn ($request) => $request->answer()->told(), $requests);
        $this->assertSame(range(1, 4), array_column($told, 'read'));
        $this->assertCount(4, array_unique(array_column($told, 'pid')));
        $this->assertCount(4, self::connections($this->redis));
    }

    public function test_what_redis_has_closed_is_replaced(): void
    {
        $fpm = self::fpm();
        $pids = [];
        for ($i = 0; $i < 10; ++$i) {
            $told = $fpm->get('works.php')->told();
            $this->assertSame(5, $told['read']);
            $pids[$told['pid']] = true;
            $this->assertCount(1, self::connections($this->redis));
            $this->redis->rawCommand('CLIENT', 'KILL', 'USER', 'page');
        }
        $this->assertCount(1, $pids);
        $this->assertSame(10, $this->redis->lLen('celery'));
    }

    public function test_a_restart_of_redis_fails_no_request(): void
    {
        $redis = new RedisServer();
        self::prepare($redis->client());
        $fpm = self::fpm(['www' => []], ['REDIS_PORT' => (string) $redis->port]);
        $pids = [];
        foreach (['works.php', 'posts.php', 'works.php', 'pipelined.php', 'works.php'] as $page) {
            $pids[$fpm->get($page, ['name' => 'a'])->told()['pid']] = true;
            $redis->stop();
            $redis->start();
            self::prepare($redis->client());
        }
        $this->assertSame(5, $fpm->get('works.php')->told()['read']);

        // Redis is unreachable only while it is stopped.
        $redis->stop();
        $away = $fpm->get('works.php');
        $this->assertSame(500, $away->status);
        $this->assertStringContainsString('CeleryConnectionException', $away->errors);
        $redis->start();
        self::prepare($redis->client());
        $pids[$fpm->get('works.php')->told()['pid']] = true;
        $this->assertCount(1, $pids);
        $this->assertCount(1, self::connections($redis->client()));
    }
}
