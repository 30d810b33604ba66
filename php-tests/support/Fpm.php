<?php

namespace CeleryTests;

/**
 * A private PHP-FPM, asked over FastCGI without a web server. A test sees what a web server sees,
 * even a worker process that dies. The FPM loads the extension if the command `php` does, which
 * `testkit` arranges for tests that run with its service `php`.
 */
final class Fpm
{
    private const START = 20;
    /**
     * The seconds that a reload grants to running requests. FPM's own default is 0: it would kill
     * them.
     */
    private const RELOAD = 20;
    private const READY = 'ready to handle connections';

    private string $pages;
    private string $folder;
    private Background $master;

    /**
     * @param string $pages the folder of the scripts
     * @param array<string, array<string, string|int>> $pools each pool's settings, added to the
     * common ones
     * @param array<string, string> $environment the pages' variables, added to this process's own
     */
    public function __construct(string $pages, array $pools = ['www' => []], array $environment = [])
    {
        $this->pages = $pages;
        $this->folder = sys_get_temp_dir() . '/fpm-' . bin2hex(random_bytes(6));
        mkdir($this->folder);
        file_put_contents("$this->folder/php-fpm.conf", $this->configuration($pools));
        $command = [self::program(), '--fpm-config', "$this->folder/php-fpm.conf"];
        if (self::isRoot()) {
            $command[] = '--allow-to-run-as-root';
        }
        $this->master = new Background($command, $environment);
        $this->master->waitForText(self::READY, self::START);
    }

    public function __destruct()
    {
        // If the master stops properly, the workers always end with it. If it is killed, they may
        // go on.
        $this->master->stop();
        array_map('unlink', glob("$this->folder/*"));
        rmdir($this->folder);
    }

    /**
     * Requests a page and waits for its answer.
     *
     * @param array<string, mixed> $query
     */
    public function get(string $page, array $query = [], string $pool = 'www'): FastCgiAnswer
    {
        return $this->begin($page, $query, $pool)->answer();
    }

    /**
     * Requests a page.
     *
     * @param array<string, mixed> $query
     */
    public function begin(string $page, array $query = [], string $pool = 'www'): FastCgi
    {
        return new FastCgi("$this->folder/$pool.sock", [
            'SCRIPT_FILENAME' => "$this->pages/$page",
            'SCRIPT_NAME' => "/$page",
            'DOCUMENT_ROOT' => $this->pages,
            'REQUEST_METHOD' => 'GET',
            'REQUEST_URI' => "/$page",
            'QUERY_STRING' => http_build_query($query),
            'SERVER_PROTOCOL' => 'HTTP/1.1',
        ]);
    }

    /**
     * Asks for new worker processes, as `systemctl reload` does. Returns at once; {@see reloads()}
     * counts finished reloads.
     */
    public function reload(): void
    {
        $this->master->signal(SIGUSR2);
    }

    /**
     * Returns the number of finished reloads.
     */
    public function reloads(): int
    {
        return substr_count($this->master->log(), self::READY) - 1;
    }

    /**
     * Returns the log of FPM and of its workers.
     */
    public function log(): string
    {
        return $this->master->log();
    }

    private function configuration(array $pools): string
    {
        $lines = [
            '[global]',
            'daemonize = no',
            'error_log = /proc/self/fd/2',
            'process_control_timeout = ' . self::RELOAD,
        ];
        foreach ($pools as $name => $settings) {
            $settings += (self::isRoot() ? ['user' => 'root', 'group' => 'root'] : []) + [
                'listen' => "$this->folder/$name.sock",
                'pm' => 'static',
                'pm.max_children' => 1,
                'clear_env' => 'no',
                'catch_workers_output' => 'yes',
                'php_admin_flag[display_errors]' => 'off',
                'php_admin_flag[log_errors]' => 'on',
                'php_admin_flag[html_errors]' => 'off',
            ];
            $lines[] = "[$name]";
            foreach ($settings as $setting => $value) {
                $lines[] = "$setting = $value";
            }
        }

        return implode("\n", $lines) . "\n";
    }

    /**
     * Returns the FPM of this PHP: where PHP installs it, or where Debian does.
     */
    private static function program(): string
    {
        $version = PHP_MAJOR_VERSION . '.' . PHP_MINOR_VERSION;
        foreach ([dirname(PHP_BINDIR) . '/sbin/php-fpm', "/usr/sbin/php-fpm$version"] as $program) {
            if (is_executable($program)) {
                return $program;
            }
        }

        throw new \RuntimeException('php-fpm is not installed (Debian package php-fpm)');
    }

    private static function isRoot(): bool
    {
        return posix_geteuid() === 0;
    }
}
