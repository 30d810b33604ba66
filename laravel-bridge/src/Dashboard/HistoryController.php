<?php

declare(strict_types=1);

namespace CeleryBridge\Dashboard;

use CeleryBridge\History\Minutes;
use CeleryBridge\History\Series;
use CeleryBridge\Outcomes\ListenerHeartbeat;
use Illuminate\Contracts\Cache\Repository as Cache;
use Illuminate\Http\JsonResponse;
use Illuminate\Http\Request;
use Illuminate\Http\Response;

/**
 * The page *History*: what `celery:listen` has counted, by task and over time.
 */
final class HistoryController
{
    /** The spans: minutes of one step, the number of steps, seconds for which an answer is shown. */
    private const SPANS = [
        'hour' => [1, 60, 2.0],
        '6-hours' => [5, 72, 10.0],
        'day' => [15, 96, 30.0],
        'week' => [120, 84, 120.0],
    ];

    /** The queues with a line of their own. */
    private const QUEUES = 6;

    public function __construct(
        private readonly Chosen $chosen,
        private readonly Answers $answers,
        private readonly SharedAnswers $shared,
        private readonly Minutes $minutes,
        private readonly Cache $cache,
    ) {
    }

    public function __invoke(Request $request): Response|JsonResponse
    {
        $settings = $this->chosen->settings($request);
        $span = $request->query('span', 'hour');
        abort_unless(is_string($span) && isset(self::SPANS[$span]), 404);
        $task = $request->query('task');
        abort_unless($task === null || is_string($task) && $task !== '' && strlen($task) <= 191, 404);

        $recorded = $this->minutes->exist();
        $key = "history:{$settings->name}:{$span}:".hash('sha256', (string) $task);
        $data = $recorded
            ? $this->shared->get($key, fn (): array => $this->read($settings->name, self::SPANS[$span], $task), self::SPANS[$span][2])
            : ['tasks' => [], 'points' => [], 'queues' => []];

        return $this->answers->page('history', 'history', $request, $settings, [
            'recorded' => $recorded,
            'listening' => (new ListenerHeartbeat($this->cache, $settings->name))->isAlive(),
            'span' => $span,
            'spans' => array_keys(self::SPANS),
            'step' => self::SPANS[$span][0],
            'task' => $task,
        ] + $data + ($request->wantsJson() ? [] : ['charts' => self::charts($data)]));
    }

    /**
     * @param  array{int, int, float}  $span
     * @return array{tasks: list<array<string, mixed>>, points: list<array<string, mixed>>, queues: array<string, list<?int>>}
     */
    private function read(string $connection, array $span, ?string $task): array
    {
        [$step, $count] = $span;
        // Whole steps, so that the bars do not change with each minute.
        $until = (intdiv(intdiv(time(), 60), $step) + 1) * $step;
        $from = $until - $step * $count;
        $series = (new Series($from, $step, $count, $task))->add($this->minutes->between($connection, $from, $until));

        return ['tasks' => $series->tasks(), 'points' => $series->points(), 'queues' => $series->queues()];
    }

    /**
     * @param  array{points: list<array<string, mixed>>, queues: array<string, list<?int>>}  $data
     * @return array{runs: Chart, runtimes: Chart, queues: Chart}
     */
    private static function charts(array $data): array
    {
        $column = static fn (string $name): array => array_column($data['points'], $name);

        return [
            'runs' => Chart::bars(['succeeded' => $column('succeeded'), 'failed' => $column('failed')]),
            'runtimes' => Chart::lines(['95 %' => $column('p95'), '50 %' => $column('p50')]),
            'queues' => Chart::lines(array_slice($data['queues'], 0, self::QUEUES, true)),
        ];
    }
}
