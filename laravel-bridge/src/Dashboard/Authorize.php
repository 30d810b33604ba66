<?php

declare(strict_types=1);

namespace CeleryBridge\Dashboard;

use Closure;
use Illuminate\Contracts\Auth\Access\Gate;
use Illuminate\Contracts\Foundation\Application;
use Illuminate\Http\Request;
use Symfony\Component\HttpFoundation\Response;

/**
 * Lets a request to the dashboard pass in the environment "local", and elsewhere if the gate
 * `viewCelery` allows it. Its answers may not be framed, cached, or run code of other origins.
 */
final class Authorize
{
    private const HEADERS = [
        'Content-Security-Policy' => "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
            ."base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        'X-Content-Type-Options' => 'nosniff',
        'Referrer-Policy' => 'same-origin',
    ];

    public function __construct(private readonly Application $app)
    {
    }

    public function handle(Request $request, Closure $next): Response
    {
        abort_unless($this->allows(), 403);

        $response = $next($request);
        $response->headers->add(self::HEADERS);
        if (! $response->headers->has('ETag')) {
            $response->headers->set('Cache-Control', 'no-store, private');
        }

        return $response;
    }

    private function allows(): bool
    {
        return $this->app->environment('local')
            || $this->app->bound(Gate::class) && $this->app->make(Gate::class)->check(Dashboard::GATE);
    }
}
