<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use Celery\CircuitOpen;
use CeleryBridge\Facades\Celery;
use CeleryBridge\Tests\Support\TestCase;
use CeleryConnectionException;
use RuntimeException;

/**
 * The circuit breaker of a broker that is away.
 */
final class CircuitTest extends TestCase
{
    public function test_the_circuit_opens_after_three_posts_that_could_not_connect(): void
    {
        $this->assertPosts([CeleryConnectionException::class, CeleryConnectionException::class,
            CeleryConnectionException::class, CircuitOpen::class]);
        $this->assertSame('', (string) ini_get('celery.breaker_failures'));
    }

    public function test_the_setting_of_php_ini_has_precedence(): void
    {
        ini_set('celery.breaker_failures', '0');
        try {
            $this->assertPosts(array_fill(0, 5, CeleryConnectionException::class));
            ini_set('celery.breaker_failures', '1');
            $this->assertPosts([CeleryConnectionException::class, CircuitOpen::class]);
        } finally {
            ini_restore('celery.breaker_failures');
        }
    }

    /**
     * @param  list<class-string>  $expected
     */
    private function assertPosts(array $expected): void
    {
        $this->broker();
        config(['celery.connections.default.url' => 'redis://127.0.0.1:'.$this->deadPort()]);
        Celery::forgetConnections();
        $thrown = [];
        foreach ($expected as $ignored) {
            try {
                Celery::post('a');
                $thrown[] = 'none';
            } catch (CeleryConnectionException $e) {
                $thrown[] = $e::class;
            }
        }
        $this->assertSame($expected, $thrown);
    }

    /**
     * Returns a port of this machine on which no program listens, and that no other test has used.
     */
    private function deadPort(): int
    {
        $socket = stream_socket_server('tcp://127.0.0.1:0') ?: throw new RuntimeException('no free port');
        $name = (string) stream_socket_get_name($socket, false);
        fclose($socket);

        return (int) substr($name, strrpos($name, ':') + 1);
    }
}
