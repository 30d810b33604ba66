<?php

declare(strict_types=1);

namespace CeleryBridge\Dashboard;

use CeleryBridge\Outcomes\TrackedJobs;
use CeleryBridge\Transport\ExtensionTransport;
use Illuminate\Contracts\Cache\Repository as Cache;
use Illuminate\Contracts\Console\Kernel;
use Illuminate\Http\JsonResponse;
use Illuminate\Http\RedirectResponse;
use Illuminate\Http\Request;
use Throwable;

/**
 * What a user of the dashboard can do to tasks.
 */
final class ActionController
{
    /** Seconds during which a second click on *Retry* is ignored. */
    private const ONCE = 60;

    public function __construct(private readonly Chosen $chosen, private readonly Answers $answers)
    {
    }

    /**
     * Sends a failed job again, as `queue:retry` does.
     */
    public function retry(Request $request, string $id, TrackedJobs $jobs, JobView $view, Kernel $artisan, Cache $cache): RedirectResponse|JsonResponse
    {
        $settings = $this->chosen->settings($request);
        abort_if(! $jobs->exist() || $jobs->find($settings->name, $id) === null, 404);
        $back = ['celery.job', ['id' => $id, 'connection' => $settings->name]];
        $lock = "celery:retry:{$id}";

        // Two clicks must not post the task twice.
        if (! $cache->add($lock, 1, self::ONCE)) {
            return $this->answers->action($request, $back, 409, 'This job is being retried already.');
        }
        try {
            if (! $view->canRetry($id)) {
                return $this->answers->action($request, $back, 409, 'The job is not in failed_jobs, or has been retried already.');
            }
            $artisan->call('queue:retry', ['id' => [$id]]);

            // The command forgets a job only after it has posted the task.
            return $view->canRetry($id)
                ? $this->answers->action($request, $back, 502, 'The job was not retried: '.trim($artisan->output()))
                : $this->answers->action($request, $back, 200, 'The job was sent again, with a new id.');
        } catch (Throwable $e) {
            return $this->answers->action($request, $back, 502, "The job was not retried: {$e->getMessage()}");
        } finally {
            $cache->forget($lock);
        }
    }

    /**
     * Tells the workers not to run a task; with `terminate`, also to stop it if it runs.
     */
    public function revoke(Request $request): RedirectResponse|JsonResponse
    {
        $settings = $this->chosen->settings($request);
        $id = $request->input('id');
        abort_unless(is_string($id) && preg_match('/^[^\x00-\x1f]{1,191}$/D', $id) === 1, 422);
        $terminate = $request->boolean('terminate');
        $back = ['celery.overview', ['connection' => $settings->name]];
        try {
            (new ExtensionTransport($settings))->client()->control()->revoke($id, terminate: $terminate);
        } catch (Throwable $e) {
            return $this->answers->action($request, $back, 502, "The task was not revoked: {$e->getMessage()}");
        }

        return $this->answers->action($request, $back, 200, $terminate
            ? "The workers were told to stop the task {$id}."
            : "The workers were told not to run the task {$id}.");
    }
}
