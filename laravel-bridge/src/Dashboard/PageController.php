<?php

declare(strict_types=1);

namespace CeleryBridge\Dashboard;

use CeleryBridge\Outcomes\ListenerHeartbeat;
use CeleryBridge\Outcomes\TrackedJobs;
use Illuminate\Contracts\Cache\Repository as Cache;
use Illuminate\Contracts\Container\Container;
use Illuminate\Http\JsonResponse;
use Illuminate\Http\Request;
use Illuminate\Http\Response;

/**
 * The pages of workers, queues and jobs.
 */
final class PageController
{
    private const PER_PAGE = 50;

    private const PAGES = 200;

    /** The filters of the list of jobs, and their states. No state means all. */
    private const FILTERS = [
        'all' => [],
        'open' => [TrackedJobs::POSTING, 'PENDING', 'RETRY'],
        'failed' => ['FAILURE', 'REVOKED'],
        'succeeded' => ['SUCCESS'],
    ];

    public function __construct(
        private readonly Container $container,
        private readonly Chosen $chosen,
        private readonly Answers $answers,
        private readonly TrackedJobs $jobs,
        private readonly Cache $cache,
    ) {
    }

    public function overview(Request $request, LiveState $live): Response|JsonResponse
    {
        $settings = $this->chosen->settings($request);

        return $this->answers->page('overview', 'overview', $request, $settings, $live->of($settings));
    }

    public function jobs(Request $request): Response|JsonResponse
    {
        $settings = $this->chosen->settings($request);
        $filter = $request->query('filter', 'all');
        abort_unless(is_string($filter) && isset(self::FILTERS[$filter]), 404);
        $page = max(1, min(self::PAGES, (int) $request->query('page', '1')));
        $recorded = $this->jobs->exist();
        $rows = $recorded
            ? $this->jobs->newest($settings->name, self::FILTERS[$filter], self::PER_PAGE + 1, ($page - 1) * self::PER_PAGE)
            : collect();
        $view = $this->container->make(JobView::class);

        return $this->answers->page('jobs', 'jobs', $request, $settings, [
            'recorded' => $recorded,
            'listening' => (new ListenerHeartbeat($this->cache, $settings->name))->isAlive(),
            'filter' => $filter,
            'filters' => array_keys(self::FILTERS),
            'page' => $page,
            'more' => $rows->count() > self::PER_PAGE && $page < self::PAGES,
            'jobs' => $rows->take(self::PER_PAGE)->map($view->line(...))->values()->all(),
        ]);
    }

    public function job(Request $request, string $id): Response|JsonResponse
    {
        $settings = $this->chosen->settings($request);
        $row = $this->jobs->exist() ? $this->jobs->find($settings->name, $id) : null;
        abort_if($row === null, 404);

        return $this->answers->page('job', 'jobs', $request, $settings, ['job' => $this->container->make(JobView::class)->whole($row)]);
    }
}
