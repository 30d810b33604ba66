<?php

namespace CeleryTests;

/**
 * A running request to PHP-FPM. Many can run at once: `stream` is for `stream_select()`.
 */
final class FastCgi
{
    private const VERSION = 1;
    private const BEGIN = 1;
    private const END = 3;
    private const PARAMS = 4;
    private const STDIN = 5;
    private const STDOUT = 6;
    private const STDERR = 7;
    private const RESPONDER = 1;
    private const HEADER = 8;

    /** @var resource */
    public $stream;
    private string $received = '';
    private string $output = '';
    private string $errors = '';
    private bool $ended = false;

    /**
     * @param array<string, string> $params
     */
    public function __construct(string $socket, array $params)
    {
        $stream = stream_socket_client("unix://$socket", $code, $reason, 10);
        if ($stream === false) {
            throw new \RuntimeException("$socket: $reason");
        }
        $this->stream = $stream;
        $encoded = '';
        foreach ($params as $name => $value) {
            $encoded .= self::length($name) . self::length($value) . $name . $value;
        }
        $request = self::record(self::BEGIN, pack('nCx5', self::RESPONDER, 0))
            . self::record(self::PARAMS, $encoded)
            . self::record(self::PARAMS, '')
            . self::record(self::STDIN, '');
        if (fwrite($stream, $request) !== strlen($request)) {
            throw new \RuntimeException('PHP-FPM took only a part of a request');
        }
        stream_set_blocking($stream, false);
    }

    /**
     * Waits until the request ends.
     */
    public function answer(float $seconds = 30): FastCgiAnswer
    {
        Wait::until('the answer of PHP-FPM', $seconds, function () {
            [$read, $none] = [[$this->stream], null];
            stream_select($read, $none, $none, 0, 100_000);

            return $this->advance();
        });

        return $this->ending();
    }

    /**
     * Reads the data that has arrived; returns true at its end. A connection that ends early
     * throws: the worker died.
     */
    public function advance(): bool
    {
        while (!$this->ended) {
            $bytes = fread($this->stream, 65536);
            if ($bytes === '' || $bytes === false) {
                if (feof($this->stream)) {
                    throw new \RuntimeException("The worker process died of this request: $this->output $this->errors");
                }

                return false;
            }
            $this->received .= $bytes;
            $this->take();
        }

        // PHP-FPM serves no other request before this end of the connection is closed.
        if (is_resource($this->stream)) {
            fclose($this->stream);
        }

        return true;
    }

    /**
     * Returns the answer, after {@see advance()} has returned true.
     */
    public function ending(): FastCgiAnswer
    {
        return new FastCgiAnswer($this->output, $this->errors);
    }

    private function take(): void
    {
        while (strlen($this->received) >= self::HEADER) {
            ['type' => $type, 'length' => $length, 'padding' => $padding] =
                unpack('Cversion/Ctype/nid/nlength/Cpadding', $this->received);
            if (strlen($this->received) < self::HEADER + $length + $padding) {
                return;
            }
            $content = substr($this->received, self::HEADER, $length);
            $this->received = substr($this->received, self::HEADER + $length + $padding);
            if ($type === self::STDOUT) {
                $this->output .= $content;
            } elseif ($type === self::STDERR) {
                $this->errors .= $content;
            } elseif ($type === self::END) {
                $this->ended = true;
            }
        }
    }

    private static function record(int $type, string $content): string
    {
        return pack('CCnnCx', self::VERSION, $type, 1, strlen($content), 0) . $content;
    }

    private static function length(string $text): string
    {
        $length = strlen($text);

        return $length < 128 ? chr($length) : pack('N', $length | 0x80000000);
    }
}
