<?php

declare(strict_types=1);

namespace CeleryBridge\Console;

use Symfony\Component\Console\Formatter\OutputFormatter;

/**
 * Answers people in the style of Laravel's own commands: with the console components that Laravel
 * has since version 9, otherwise in plain lines.
 */
trait SpeaksInComponents
{
    private function inform(string $message): void
    {
        if (isset($this->components)) {
            $this->components->info($message);
        } else {
            $this->line($message);
        }
    }

    private function complain(string $message): void
    {
        if (isset($this->components)) {
            $this->components->error($message);
        } else {
            $this->error($message);
        }
    }

    /** Texts of other programs cannot control the terminal. */
    private static function printable(string $text): string
    {
        return OutputFormatter::escape((string) preg_replace('/[^\P{C}\n]/u', '?', mb_scrub($text)));
    }

    /** Shows one check with its outcome. */
    private function report(string $check, bool $ok, string $detail): void
    {
        if (! isset($this->components)) {
            $mark = $ok ? '<info>ok  </info>' : '<error>FAIL</error>';
            $this->line(sprintf('%s  %-28s %s', $mark, $check, $detail));

            return;
        }

        $this->components->twoColumnDetail($check, $ok ? $detail : '<fg=red;options=bold>FAIL</>');
        if (! $ok) {
            $this->components->error($detail);
        }
    }
}
