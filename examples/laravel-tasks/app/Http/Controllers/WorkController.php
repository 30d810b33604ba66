<?php

namespace App\Http\Controllers;

use App\Services\LocalWorkers;
use App\Services\WorkService;
use App\Services\WorkState;
use Illuminate\Http\Request;
use Illuminate\Routing\Controller;

/**
 * The page /work, which shows what workers do.
 */
class WorkController extends Controller
{
    public function index(WorkState $state)
    {
        return view('work.index', $state->all());
    }

    /**
     * Returns the part of the page that changes, or its data as JSON.
     */
    public function live(Request $request, WorkState $state)
    {
        $now = $state->all();
        $answer = $request->wantsJson() ? response()->json($now) : response()->view('work.live', $now);

        return $answer->header('Cache-Control', 'no-store');
    }

    public function start(Request $request, WorkService $work, string $kind)
    {
        $input = $request->validate(['seconds' => 'numeric|between:0,60', 'milliseconds' => 'integer|between:0,1000']);
        match ($kind) {
            'long' => $work->long((float) ($input['seconds'] ?? 6)),
            'fail' => $work->fail(),
            'chord' => $work->chord((float) ($input['seconds'] ?? 0.5)),
            'items' => $work->items((int) ($input['milliseconds'] ?? 20)),
        };

        return redirect()->route('work.index');
    }

    public function kill(Request $request, LocalWorkers $workers)
    {
        abort_unless($workers->kill((string) $request->input('worker')), 404);

        return redirect()->route('work.index');
    }
}
