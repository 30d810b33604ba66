<?php

namespace CeleryTests;

/**
 * A headless Chromium under the control of a test, over the pipe of its DevTools protocol. Confirm
 * dialogs are accepted. It ends with the object.
 */
final class Chromium
{
    /** Seconds for one answer of the browser. */
    private const PATIENCE = 30;

    /** @var resource */
    private $process;
    /** @var array<int, resource> */
    private array $pipes;
    private string $profile;
    private string $session;
    private string $received = '';
    private int $commands = 0;

    public function __construct()
    {
        $this->profile = sys_get_temp_dir() . '/chromium-' . bin2hex(random_bytes(6));
        $null = ['file', '/dev/null', 'w'];
        $process = proc_open([
            'chromium', '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-quic', '--no-first-run',
            '--disable-background-networking', '--disable-component-update', '--disable-sync', '--hide-scrollbars',
            "--user-data-dir={$this->profile}", '--remote-debugging-pipe', 'about:blank',
        ], [['file', '/dev/null', 'r'], $null, $null, ['pipe', 'r'], ['pipe', 'w']], $pipes);
        if ($process === false) {
            throw new \RuntimeException('chromium cannot be started');
        }
        $this->process = $process;
        $this->pipes = $pipes;
        stream_set_blocking($this->pipes[4], false);
        $target = $this->send('Target.createTarget', ['url' => 'about:blank'])['targetId'];
        $this->session = $this->send('Target.attachToTarget', ['targetId' => $target, 'flatten' => true])['sessionId'];
        $this->send('Page.enable');
        $this->window(1200, 800);
    }

    public function __destruct()
    {
        proc_terminate($this->process, SIGKILL);
        proc_close($this->process);
        // Its other processes may write to the profile for a moment longer.
        exec('rm -rf ' . escapeshellarg($this->profile) . ' 2>/dev/null');
    }

    public function open(string $url): void
    {
        $this->send('Page.navigate', ['url' => $url]);
        $this->waitFor('document.readyState === "complete" && location.href !== "about:blank"');
    }

    /** Returns the value of a JavaScript expression. */
    public function evaluate(string $expression): mixed
    {
        $answer = $this->send('Runtime.evaluate', ['expression' => $expression, 'returnByValue' => true]);
        if (isset($answer['exceptionDetails'])) {
            throw new \RuntimeException("{$expression}: " . json_encode($answer['exceptionDetails']));
        }

        return $answer['result']['value'] ?? null;
    }

    /** Waits until a JavaScript expression is true, without reloading the page. */
    public function waitFor(string $expression, float $seconds = 60): void
    {
        try {
            Wait::until($expression, $seconds, function () use ($expression): bool {
                try {
                    return (bool) $this->evaluate($expression);
                } catch (\RuntimeException) {
                    // The page is being replaced.
                    return false;
                }
            });
        } catch (\RuntimeException $e) {
            throw new \RuntimeException($e->getMessage() . "; the page:\n" . $this->evaluate('document.body.innerText'));
        }
    }

    /** Waits for an element and clicks it. */
    public function click(string $selector): void
    {
        $element = 'document.querySelector(' . json_encode($selector) . ')';
        $this->waitFor("{$element} !== null");
        // Clicks after the answer: a dialog would hold it back.
        $this->evaluate("setTimeout(() => {$element}.click(), 0) > 0");
    }

    public function window(int $width, int $height, bool $dark = false): void
    {
        $this->send('Emulation.setDeviceMetricsOverride', [
            'width' => $width, 'height' => $height, 'deviceScaleFactor' => 1, 'mobile' => $width < 600,
        ]);
        $this->send('Emulation.setEmulatedMedia', [
            'features' => [['name' => 'prefers-color-scheme', 'value' => $dark ? 'dark' : 'light']],
        ]);
    }

    public function screenshot(string $file): void
    {
        $answer = $this->send('Page.captureScreenshot', ['format' => 'png']);
        is_dir(dirname($file)) || mkdir(dirname($file), 0777, true);
        file_put_contents($file, base64_decode($answer['data']));
    }

    /**
     * @param array<string, mixed> $parameters
     * @return array<string, mixed>
     */
    private function send(string $method, array $parameters = []): array
    {
        $id = $this->write($method, $parameters);

        return Wait::until("the answer of Chromium to {$method}", self::PATIENCE, function () use ($id, $method): ?array {
            while (($message = $this->next()) !== null) {
                if (($message['method'] ?? '') === 'Page.javascriptDialogOpening') {
                    $this->write('Page.handleJavaScriptDialog', ['accept' => true]);
                } elseif (($message['id'] ?? 0) === $id) {
                    if (isset($message['error'])) {
                        throw new \RuntimeException("{$method}: {$message['error']['message']}");
                    }

                    return $message['result'] + ['id' => $id];
                }
            }

            return null;
        });
    }

    /**
     * @param array<string, mixed> $parameters
     */
    private function write(string $method, array $parameters): int
    {
        $message = ['id' => ++$this->commands, 'method' => $method, 'params' => (object) $parameters];
        if (isset($this->session)) {
            $message['sessionId'] = $this->session;
        }
        fwrite($this->pipes[3], json_encode($message) . "\0");

        return $this->commands;
    }

    /**
     * @return array<string, mixed>|null
     */
    private function next(): ?array
    {
        $this->received .= stream_get_contents($this->pipes[4]);
        $end = strpos($this->received, "\0");
        if ($end === false) {
            return null;
        }
        $message = json_decode(substr($this->received, 0, $end), true);
        $this->received = substr($this->received, $end + 1);

        return $message;
    }
}
