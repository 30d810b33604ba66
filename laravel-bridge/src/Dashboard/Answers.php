<?php

declare(strict_types=1);

namespace CeleryBridge\Dashboard;

use CeleryBridge\Config\ConnectionSettings;
use Illuminate\Http\JsonResponse;
use Illuminate\Http\RedirectResponse;
use Illuminate\Http\Request;
use Illuminate\Http\Response;

/**
 * The forms of the dashboard's answers. A request that accepts JSON gets the data of its page;
 * `fragment=1` gets only the part that changes, with which the script renews the page.
 */
final class Answers
{
    public function __construct(private readonly Chosen $chosen)
    {
    }

    /**
     * @param  string  $page  the name of its view
     * @param  string  $section  the entry of the menu that it belongs to
     * @param  array<string, mixed>  $data
     */
    public function page(string $page, string $section, Request $request, ConnectionSettings $settings, array $data): Response|JsonResponse
    {
        if ($request->wantsJson()) {
            return new JsonResponse(
                ['connection' => $settings->name] + $data,
                options: JSON_UNESCAPED_SLASHES | JSON_INVALID_UTF8_SUBSTITUTE,
            );
        }
        $isFragment = $request->boolean('fragment');
        if ($isFragment && $request->hasSession()) {
            // The message of an action is for the next whole page.
            $request->session()->reflash();
        }
        $data += [
            'connection' => $settings->name,
            'connections' => $this->chosen->names(),
            'broker' => $settings->broker->display(),
            'section' => $section,
        ];

        return new Response(view($isFragment ? "celery::live.{$page}" : "celery::{$page}", $data)->render());
    }

    /**
     * Answers an action with JSON, or leads back to a page that shows how it went.
     *
     * @param  array{string, array<string, string>}  $back  the name of a route and its parameters
     */
    public function action(Request $request, array $back, int $status, string $message): RedirectResponse|JsonResponse
    {
        if ($request->wantsJson()) {
            return new JsonResponse(['ok' => $status === 200, 'message' => $message], $status);
        }

        return redirect()->route(...$back)->with($status === 200 ? 'celery.done' : 'celery.fault', $message);
    }
}
