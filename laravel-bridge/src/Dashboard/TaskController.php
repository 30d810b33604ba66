<?php

declare(strict_types=1);

namespace CeleryBridge\Dashboard;

use Celery\TaskMeta;
use CeleryBridge\History\Minutes;
use CeleryBridge\History\RecentTask;
use CeleryBridge\History\RecentTasks;
use CeleryBridge\Outcomes\ListenerHeartbeat;
use CeleryBridge\Outcomes\TrackedJobs;
use CeleryBridge\Transport\ExtensionTransport;
use Illuminate\Contracts\Cache\Repository as Cache;
use Illuminate\Http\JsonResponse;
use Illuminate\Http\RedirectResponse;
use Illuminate\Http\Request;
use Illuminate\Http\Response;
use Throwable;

/**
 * The newest tasks of all producers, as `celery:listen` knows them from events, and sending one of
 * them again. Jobs have pages of their own.
 */
final class TaskController
{
    private const PER_PAGE = 50;

    private const PAGES = 40;

    private const FILTERS = ['all', 'failed'];

    /** Seconds during which a second click on *Repeat* is ignored. */
    private const ONCE = 60;

    public function __construct(
        private readonly Chosen $chosen,
        private readonly Answers $answers,
        private readonly Minutes $minutes,
        private readonly RecentTasks $tasks,
        private readonly TrackedJobs $jobs,
        private readonly Cache $cache,
    ) {
    }

    public function index(Request $request): Response|JsonResponse
    {
        $settings = $this->chosen->settings($request);
        $filter = $request->query('filter', 'all');
        abort_unless(in_array($filter, self::FILTERS, true), 404);
        $page = max(1, min(self::PAGES, (int) $request->query('page', '1')));
        $recorded = $this->minutes->exist();
        $tasks = $recorded
            ? $this->tasks->newest($settings->name, $filter === 'failed', self::PER_PAGE + 1, ($page - 1) * self::PER_PAGE)
            : [];

        return $this->answers->page('tasks', 'tasks', $request, $settings, [
            'recorded' => $recorded,
            'listening' => (new ListenerHeartbeat($this->cache, $settings->name))->isAlive(),
            'filter' => $filter,
            'filters' => self::FILTERS,
            'page' => $page,
            'more' => count($tasks) > self::PER_PAGE && $page < self::PAGES,
            'tasks' => array_map(get_object_vars(...), array_slice($tasks, 0, self::PER_PAGE)),
        ]);
    }

    public function show(Request $request): Response|JsonResponse
    {
        $settings = $this->chosen->settings($request);
        $task = $this->find($request, $settings->name);
        $isJob = $this->jobs->exist() && $this->jobs->find($settings->name, $task->id) !== null;
        try {
            $canRepeat = ! $isJob && self::call((new ExtensionTransport($settings))->client()->result($task->id)->meta()) !== null;
        } catch (Throwable) {
            $canRepeat = false;
        }

        return $this->answers->page('task', 'tasks', $request, $settings, [
            'task' => get_object_vars($task), 'is_job' => $isJob, 'can_repeat' => $canRepeat,
        ]);
    }

    /**
     * Sends a task again with the arguments that its stored result has, under a new id.
     */
    public function repeat(Request $request): RedirectResponse|JsonResponse
    {
        $settings = $this->chosen->settings($request);
        $task = $this->find($request, $settings->name);
        $back = ['celery.task', ['id' => $task->id, 'connection' => $settings->name]];
        abort_if($this->jobs->exist() && $this->jobs->find($settings->name, $task->id) !== null, 404);

        // Two clicks must not post the task twice.
        if (! $this->cache->add('celery:repeat:'.hash('sha256', $task->id), 1, self::ONCE)) {
            return $this->answers->action($request, $back, 409, 'This task was sent again a moment ago.');
        }
        try {
            $client = (new ExtensionTransport($settings))->client();
            $call = self::call($client->result($task->id)->meta());
            if ($call === null) {
                return $this->answers->action($request, $back, 409, 'The stored result does not have the arguments of this task.');
            }
            [$name, $args, $kwargs, $queue] = $call;
            $sent = $client->send($client->signature($name, $args, $kwargs, queue: $queue ?? $settings->queue));
        } catch (Throwable $e) {
            return $this->answers->action($request, $back, 502, "The task was not sent: {$e->getMessage()}");
        }

        return $this->answers->action($request, $back, 200, "The task was sent again, with the id {$sent->id}.");
    }

    /**
     * Returns what a stored result says of the call. Workers store that if `result_extended` is set.
     *
     * @return array{string, list<mixed>, array<string, mixed>, ?string}|null
     */
    private static function call(TaskMeta $meta): ?array
    {
        return $meta->name === null || $meta->args === null || $meta->kwargs === null
            ? null
            : [$meta->name, $meta->args, $meta->kwargs, $meta->queue];
    }

    private function find(Request $request, string $connection): RecentTask
    {
        $id = $request->input('id');
        $task = is_string($id) && $this->minutes->exist() ? $this->tasks->find($connection, $id) : null;
        abort_if($task === null, 404);

        return $task;
    }
}
