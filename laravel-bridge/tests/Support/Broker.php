<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Support;

use Closure;
use Redis;
use RuntimeException;
use stdClass;

/**
 * Access to a private Redis: reads what was posted, and answers as a worker would.
 */
final class Broker
{
    public readonly string $host;

    public readonly int $port;

    private readonly Redis $redis;

    public function __construct(public readonly string $url)
    {
        $this->host = (string) parse_url($url, PHP_URL_HOST);
        $this->port = (int) parse_url($url, PHP_URL_PORT);
        $this->redis = new Redis();
        $this->redis->connect($this->host, $this->port, 2.0);
    }

    /**
     * Returns the URL of another database of this server.
     */
    public function database(int $number): string
    {
        return "redis://{$this->host}:{$this->port}/{$number}";
    }

    public function flush(): void
    {
        $this->redis->flushAll();
    }

    /**
     * Returns the messages waiting in a queue, the oldest first. Each is the envelope, with its
     * body decoded as `args`, `kwargs`.
     *
     * @return list<stdClass>
     */
    public function messages(string $queue, int $database = 0): array
    {
        $this->redis->select($database);
        $raw = $this->redis->lRange($queue, 0, -1);
        $this->redis->select(0);

        return array_map(static function (string $text): stdClass {
            $message = json_decode($text, false, 512, JSON_THROW_ON_ERROR);
            [$message->args, $message->kwargs] = json_decode(base64_decode($message->body), false, 512, JSON_THROW_ON_ERROR);

            return $message;
        }, array_reverse($raw));
    }

    /**
     * Returns how often the server has read from a connection, including this command. A round trip
     * of another client is one read; pipelined commands arrive in few reads.
     */
    public function reads(): int
    {
        return (int) $this->redis->info('stats')['total_reads_processed'];
    }

    /**
     * Ends a task as a worker does.
     *
     * @param  array<string, mixed>  $extended  what a worker with `result_extended` adds
     */
    public function finish(string $id, string $status, mixed $result, ?string $traceback = null, array $extended = []): void
    {
        $document = (string) json_encode([
            'status' => $status,
            'result' => $result,
            'traceback' => $traceback,
            'children' => [],
            'date_done' => '2026-11-22T07:40:20.996002+00:00',
            'task_id' => $id,
        ] + $extended);
        $this->redis->setex("celery-task-meta-{$id}", 86400, $document);
        $this->redis->publish("celery-task-meta-{$id}", $document);
    }

    public function hasResult(string $id): bool
    {
        return (bool) $this->redis->exists("celery-task-meta-{$id}");
    }

    /**
     * Subscribes to a channel; each call of the returned closure waits for one message.
     *
     * @return Closure(): string
     */
    public function listen(string $channel): Closure
    {
        $socket = stream_socket_client("tcp://{$this->host}:{$this->port}", $code, $message, 2.0);
        if ($socket === false) {
            throw new RuntimeException($message);
        }
        stream_set_timeout($socket, 10);
        fwrite($socket, "SUBSCRIBE {$channel}\r\n");

        // Each answer is an array of three: its kind, the channel, and a text or number.
        $read = static function () use ($socket): string {
            $values = [];
            for ($header = fgets($socket); count($values) < 3 && is_string($header);) {
                $value = (string) fgets($socket);
                $values[] = $value[0] === '$' ? (string) stream_get_contents($socket, (int) substr($value, 1)) : $value;
                if ($value[0] === '$') {
                    fgets($socket);
                }
            }

            return $values[2] ?? throw new RuntimeException('nothing was heard in time');
        };
        $read();

        return $read;
    }

    public function redis(): Redis
    {
        return $this->redis;
    }
}
