<?php

declare(strict_types=1);

namespace CeleryBridge\Tests\Feature;

use CeleryBridge\Facades\Celery;
use CeleryBridge\Testing\PostedTask;
use CeleryBridge\Tests\Support\TestCase;
use Illuminate\Support\Facades\Route;

/**
 * Runs the PHP of the documentation's pages about Laravel as it is written.
 */
final class GettingStartedTest extends TestCase
{
    public function test_the_first_page(): void
    {
        [$post, $job, $dispatch, $test] = $this->blocks('docs/getting-started/laravel.md');

        Celery::fake(['proj.add' => 5]);
        eval($post);
        $this->assertSame(5, $result->get());
        Celery::assertPostedOn('reports', 'report', fn (PostedTask $task): bool => $task->args === [7]);

        eval($job);
        $task = (object) ['id' => 17];
        eval($dispatch);
        Celery::assertPosted('task_created', fn (PostedTask $task): bool => $task->args === [17]);

        Route::post('/orders', function () use ($task, $dispatch): void {
            eval($dispatch);
        });
        eval($test);
    }

    public function test_the_guide_to_testing(): void
    {
        [$test] = $this->blocks('docs/guides/testing.md');
        Route::post('/orders', function (): void {
            Celery::post('close_order', ['ann', 17]);
        });

        eval($test);
    }

    /** @return list<string> the PHP blocks of a page */
    private function blocks(string $page): array
    {
        $text = file_get_contents(dirname(__DIR__, 3) . "/$page");
        preg_match_all('~^```php\n(.*?)^```$~ms', $text, $found);
        $this->assertNotEmpty($found[1], $page);

        return $found[1];
    }
}
