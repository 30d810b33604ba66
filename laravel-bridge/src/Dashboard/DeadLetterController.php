<?php

declare(strict_types=1);

namespace CeleryBridge\Dashboard;

use CeleryBridge\DeadLetters\Replays;
use CeleryBridge\Outcomes\TrackedJobs;
use CeleryBridge\Transport\ExtensionTransport;
use Illuminate\Http\JsonResponse;
use Illuminate\Http\RedirectResponse;
use Illuminate\Http\Request;
use Illuminate\Http\Response;
use Throwable;

/**
 * The messages that Rust workers could not run: their list, one of them, and putting them back into
 * their queues.
 */
final class DeadLetterController
{
    private const PER_PAGE = 50;

    /** The letters that one request puts back, at most. */
    private const AT_ONCE = 100;

    private const PLACE = '/^\d{1,19}-\d{1,19}$/D';

    public function __construct(
        private readonly Chosen $chosen,
        private readonly Answers $answers,
        private readonly SharedAnswers $shared,
    ) {
    }

    public function index(Request $request): Response|JsonResponse
    {
        $settings = $this->chosen->settings($request);
        $before = $request->query('before');
        abort_unless($before === null || self::isPlace($before), 404);

        $found = $this->shared->get("dead:{$settings->name}:{$before}", static function () use ($settings, $before): array {
            try {
                $letters = (new ExtensionTransport($settings))->client()->deadLetters();
                // A quorum queue counts letters that were read only a moment after they returned.
                $total = count($letters);
                $found = $letters->newest(self::PER_PAGE + 1, $before);

                return ['error' => null, 'total' => $total, 'letters' => array_map(LetterView::line(...), $found)];
            } catch (Throwable $e) {
                return ['error' => $e->getMessage(), 'total' => 0, 'letters' => []];
            }
        });
        $page = array_slice($found['letters'], 0, self::PER_PAGE);

        return $this->answers->page('dead', 'dead', $request, $settings, [
            'error' => $found['error'],
            'total' => $found['total'],
            'letters' => $page,
            'before' => $before,
            'older' => count($found['letters']) > self::PER_PAGE ? end($page)['place'] : null,
        ]);
    }

    public function show(Request $request, string $place, TrackedJobs $jobs): Response|JsonResponse
    {
        $settings = $this->chosen->settings($request);
        abort_unless(self::isPlace($place), 404);
        $letter = $error = null;
        try {
            $letter = (new ExtensionTransport($settings))->client()->deadLetters()->find($place);
        } catch (Throwable $e) {
            $error = $e->getMessage();
        }
        // A page that is open already says that the letter is gone.
        abort_if($letter === null && $error === null && ! $request->boolean('fragment'), 404);

        return $this->answers->page('letter', 'dead', $request, $settings, [
            'error' => $error,
            'letter' => $letter === null ? null : LetterView::line($letter),
            'is_tracked' => $letter?->id !== null && $jobs->exist() && $jobs->find($settings->name, $letter->id) !== null,
        ]);
    }

    /**
     * Puts the chosen letters back into their queues.
     */
    public function replay(Request $request): RedirectResponse|JsonResponse
    {
        $settings = $this->chosen->settings($request);
        $places = $request->input('places');
        $back = ['celery.dead', ['connection' => $settings->name]];
        if ($places === null) {
            return $this->answers->action($request, $back, 422, 'No dead letter is selected.');
        }
        abort_unless(
            is_array($places) && count($places) <= self::AT_ONCE && count(array_filter($places, self::isPlace(...))) === count($places),
            422,
        );

        try {
            $replays = new Replays((new ExtensionTransport($settings))->client()->deadLetters());
        } catch (Throwable $e) {
            return $this->answers->action($request, $back, 502, "Nothing was put back: {$e->getMessage()}");
        }
        $replays->replay(array_values(array_unique($places)));
        $this->shared->forget("dead:{$settings->name}:");

        return $this->answers->action($request, $back, $replays->status(), $replays->summary());
    }

    private static function isPlace(mixed $text): bool
    {
        return is_string($text) && preg_match(self::PLACE, $text) === 1;
    }
}
