<?php

namespace CeleryTests;

/**
 * A program run beside a test, with its output in a file. It ends with the object.
 */
final class Background
{
    /** @var resource */
    private $process;
    private string $log;
    private string $name;

    /**
     * @param list<string> $command
     * @param array<string, string> $environment added to this process's own
     */
    public function __construct(array $command, array $environment = [], ?string $folder = null)
    {
        $this->name = basename($command[0]);
        $this->log = tempnam(sys_get_temp_dir(), 'log');
        $files = [['file', '/dev/null', 'r'], ['file', $this->log, 'a'], ['file', $this->log, 'a']];
        $process = proc_open($command, $files, $pipes, $folder, $environment + getenv());
        if ($process === false) {
            throw new \RuntimeException("$command[0] cannot be started");
        }
        $this->process = $process;
    }

    public function __destruct()
    {
        $this->signal(SIGKILL);
        proc_close($this->process);
        unlink($this->log);
    }

    public function log(): string
    {
        return file_get_contents($this->log);
    }

    public function waitForText(string $text, float $seconds = 30): void
    {
        try {
            Wait::until("“{$text}” in the output of {$this->name}", $seconds, function () use ($text) {
                $running = $this->isRunning();
                if (str_contains($this->log(), $text)) {
                    return true;
                }
                if (!$running) {
                    throw new \RuntimeException("$this->name ended without “{$text}”");
                }

                return false;
            });
        } catch (\RuntimeException $e) {
            throw new \RuntimeException($e->getMessage() . "; its output:\n" . $this->log());
        }
    }

    public function isRunning(): bool
    {
        return proc_get_status($this->process)['running'];
    }

    public function signal(int $signal): void
    {
        if ($this->isRunning()) {
            proc_terminate($this->process, $signal);
        }
    }

    /**
     * Sends SIGTERM and waits until the program has ended.
     */
    public function stop(float $seconds = 20): void
    {
        $this->signal(SIGTERM);
        Wait::until("the end of {$this->name}", $seconds, fn () => !$this->isRunning());
    }
}
