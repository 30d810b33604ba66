<?php

namespace App\Services;

/**
 * The workers on this machine whose pid files are in one folder: `rust1.pid` is that of `rust1`.
 */
class LocalWorkers
{
    private const SIGKILL = 9;

    private ?string $folder;

    /**
     * @param string|null $folder null: there are none, and nothing can be killed
     */
    public function __construct(?string $folder)
    {
        $this->folder = $folder;
    }

    public function canBeKilled(): bool
    {
        return $this->folder !== null;
    }

    /**
     * Returns the process ids of the running workers, by name.
     *
     * @return array<string, int>
     */
    public function running(): array
    {
        $running = [];
        foreach ($this->folder === null ? [] : glob("{$this->folder}/*.pid") as $file) {
            $pid = (int) @file_get_contents($file);
            if ($pid > 1 && $this->isProcessOf($file, $pid)) {
                $running[basename($file, '.pid')] = $pid;
            }
        }

        return $running;
    }

    /**
     * Kills a worker at once, as a crash does: it can neither finish its tasks nor give them back.
     *
     * Only Rust workers are killed. What a killed Python worker held comes back after Celery's
     * visibility timeout, an hour by default.
     *
     * @return bool false if no Rust worker of this name runs
     */
    public function kill(string $name): bool
    {
        $pid = str_starts_with($name, 'rust') ? $this->running()[$name] ?? null : null;

        return $pid !== null && posix_kill($pid, self::SIGKILL);
    }

    /**
     * Returns true if the process was started with this pid file. A killed worker leaves its file, and
     * the system may give its number to another process.
     */
    private function isProcessOf(string $file, int $pid): bool
    {
        $arguments = explode("\0", (string) @file_get_contents("/proc/$pid/cmdline"));

        return in_array("--pidfile=$file", $arguments, true);
    }
}
