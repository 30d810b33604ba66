<?php

declare(strict_types=1);

namespace CeleryParity;

/**
 * A redis-server of our own on a free port, with the few raw commands that the cases need.
 *
 * This class speaks the wire protocol itself, so that neither predis nor phpredis affects what a
 * case writes into Redis or reads back. The server keeps nothing on disk and ends with this object,
 * so a case may flush it.
 */
final class PrivateRedis
{
    /** A cold start takes about ten milliseconds; only a stuck machine exceeds this limit. */
    private const START_DEADLINE_S = 15.0;

    /** @var resource */
    private $process;

    /** @var resource */
    private $socket;

    private function __construct(public readonly int $port, mixed $process, mixed $socket)
    {
        $this->process = $process;
        $this->socket = $socket;
    }

    public static function start(): self
    {
        $port = self::freePort();
        $command = ['redis-server', '--bind', '127.0.0.1', '--port', (string) $port, '--save', '', '--appendonly', 'no', '--loglevel', 'warning'];
        $null = ['file', '/dev/null', 'r+'];
        $process = @proc_open($command, [$null, $null, $null], $pipes, sys_get_temp_dir());
        if (!is_resource($process)) {
            throw new \RuntimeException('cannot start redis-server: install the Debian package redis-server');
        }
        $deadline = microtime(true) + self::START_DEADLINE_S;
        do {
            $socket = @stream_socket_client("tcp://127.0.0.1:$port", $code, $reason, 1.0);
            if ($socket !== false) {
                stream_set_timeout($socket, 5);

                return new self($port, $process, $socket);
            }
            usleep(10_000);
        } while (microtime(true) < $deadline && proc_get_status($process)['running']);
        proc_terminate($process);
        throw new \RuntimeException("redis-server did not answer on port $port: $reason (Debian package redis-server)");
    }

    public function __destruct()
    {
        fclose($this->socket);
        proc_terminate($this->process);
        proc_close($this->process);
    }

    /** Returns a port that is free: bound, read and released. */
    public static function freePort(): int
    {
        $socket = stream_socket_server('tcp://127.0.0.1:0');
        $name = stream_socket_get_name($socket, false);
        fclose($socket);

        return (int) substr($name, strrpos($name, ':') + 1);
    }

    /** Sends one command and returns the reply. Throws if the reply is an error. */
    public function command(string ...$words): mixed
    {
        $request = '*' . count($words) . "\r\n";
        foreach ($words as $word) {
            $request .= '$' . strlen($word) . "\r\n$word\r\n";
        }
        if (fwrite($this->socket, $request) !== strlen($request)) {
            throw new \RuntimeException('the private Redis took only a part of a command');
        }

        return $this->reply();
    }

    private function reply(): mixed
    {
        $line = fgets($this->socket);
        if ($line === false) {
            throw new \RuntimeException('the private Redis went away');
        }
        $rest = substr($line, 1, -2);
        switch ($line[0]) {
            case '+':
                return $rest;
            case ':':
                return (int) $rest;
            case '$':
                return $rest === '-1' ? null : substr((string) stream_get_contents($this->socket, (int) $rest + 2), 0, -2);
            case '*':
                $items = [];
                for ($left = (int) $rest; $left > 0; --$left) {
                    $items[] = $this->reply();
                }

                return $items;
            default:
                throw new \RuntimeException("the private Redis says: $rest");
        }
    }
}
