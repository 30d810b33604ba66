<?php

namespace CeleryTests;

/**
 * A Redis for one test, which can be stopped and started again at one address. It keeps no data.
 */
final class RedisServer
{
    private const START = 20;

    public readonly int $port;
    private ?Background $process = null;

    public function __construct()
    {
        $socket = stream_socket_server('tcp://127.0.0.1:0');
        $this->port = (int) substr(strrchr(stream_socket_get_name($socket, false), ':'), 1);
        fclose($socket);
        $this->start();
    }

    public function start(): void
    {
        $this->process = new Background(
            ['redis-server', '--bind', '127.0.0.1', '--port', (string) $this->port, '--save', '', '--appendonly', 'no']
        );
        $this->process->waitForText('Ready to accept connections', self::START);
    }

    public function stop(): void
    {
        $this->process->stop();
        $this->process = null;
    }

    /**
     * Connects without the extension.
     */
    public function client(): \Redis
    {
        $redis = new \Redis();
        $redis->connect('127.0.0.1', $this->port, 5);

        return $redis;
    }
}
