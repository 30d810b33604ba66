<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use CeleryBridge\Tests\Support\TestCase;
use Symfony\Component\Process\Process;

/**
 * A PHP without the extension: everything boots, and the first use reports what is missing. The
 * test runs in a separate process, because this one may have the extension.
 */
final class ExtensionMissingTest extends TestCase
{
    public function test_booting_works_and_the_first_use_names_the_extension(): void
    {
        $answer = $this->withoutExtension();

        $this->assertSame('default', $answer['client'], 'the contract resolves');
        foreach (['post', 'dispatch', 'result', 'inside a transaction'] as $use) {
            $this->assertSame('CeleryBridge\Exceptions\ExtensionNotLoaded', $answer[$use]['class'] ?? null, $use);
            $this->assertStringContainsString('The PHP extension "celery" is not loaded', $answer[$use]['message']);
            $this->assertStringContainsString('sudo make install', $answer[$use]['message']);
        }
    }

    public function test_the_fake_needs_no_extension(): void
    {
        $answer = $this->withoutExtension();

        $this->assertSame([5, 1], [$answer['fake'], $answer['posted']]);
    }

    public function test_the_doctor_works_and_says_so(): void
    {
        $answer = $this->withoutExtension();

        $this->assertSame(1, $answer['doctor']['code']);
        $this->assertStringContainsString('sudo make install', $answer['doctor']['output']);
    }

    public function test_a_url_is_not_read_and_nothing_of_it_is_shown(): void
    {
        $answer = $this->withoutExtension()['with a url'];

        $this->assertSame('a URL, which only the extension reads', $answer['about']['Broker']);
        $this->assertSame('celery', $answer['about']['Queue']);
        $this->assertSame(1, $answer['doctor']['code']);
        $this->assertStringContainsString('a URL, which only the extension reads: not tried', $answer['doctor']['output']);
        foreach (['post', 'size'] as $use) {
            $this->assertSame('CeleryBridge\Exceptions\ExtensionNotLoaded', $answer[$use]['class'] ?? null, $use);
        }
        $this->assertStringNotContainsString('hunter', (string) json_encode($answer));
    }

    /**
     * @return array<string, mixed>
     */
    private function withoutExtension(): array
    {
        // The new process reads only ini files, not the options of this process.
        $process = new Process([PHP_BINARY, __DIR__.'/../fixtures/app/without-extension.php']);
        $process->setTimeout(60)->mustRun();
        $answer = json_decode($process->getOutput(), true);
        $this->assertIsArray($answer, $process->getOutput());

        if ($answer['loaded']) {
            $this->markTestSkipped('an ini file loads the extension into every PHP: testkit up redis -- php -d extension=…');
        }

        return $answer;
    }
}
