<?php

declare(strict_types=1);

namespace CeleryParity;

/**
 * The RabbitMQ that `testkit up rabbitmq` started, seen by a program that is neither PHP library: see
 * broker.py.
 */
final class PrivateRabbitMq
{
    /** @var resource */
    private $process;

    /** @var array<int, resource> */
    private array $pipes = [];

    public readonly int $port;

    public function __construct()
    {
        $this->port = (int) getenv('AMQP_PORT');
        $python = dirname(__DIR__, 3) . '/.venv/celery-5.7/bin/python';
        if ($this->port === 0 || !is_executable($python)) {
            throw new \RuntimeException('no private RabbitMQ: run this in `testkit up redis rabbitmq -- …`, after `make setup`');
        }
        $command = [$python, '-B', __DIR__ . '/broker.py', (string) $this->port];
        $process = proc_open($command, [['pipe', 'r'], ['pipe', 'w'], STDERR], $this->pipes);
        if ($process === false) {
            throw new \RuntimeException('broker.py did not start');
        }
        $this->process = $process;
        stream_set_timeout($this->pipes[1], 30);
    }

    public function __destruct()
    {
        array_map('fclose', $this->pipes);
        proc_close($this->process);
    }

    /** Runs a command of broker.py and returns its answer. */
    public function ask(string $command, mixed ...$arguments): mixed
    {
        fwrite($this->pipes[0], json_encode([$command, ...$arguments], JSON_THROW_ON_ERROR) . "\n");
        $line = fgets($this->pipes[1]);
        if ($line === false) {
            throw new \RuntimeException("broker.py did not answer to $command");
        }

        return json_decode($line, flags: JSON_THROW_ON_ERROR);
    }
}
