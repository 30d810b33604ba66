<?php

declare(strict_types=1);

namespace CeleryBridge\Dashboard;

use Illuminate\Http\Request;
use Illuminate\Http\Response;

/**
 * Serves the script and the style of the pages from the package, so that they need no publishing.
 */
final class AssetController
{
    private const FOLDER = __DIR__.'/../../resources/dist/';

    private const TYPES = [
        'dashboard.css' => 'text/css; charset=utf-8',
        'dashboard.js' => 'text/javascript; charset=utf-8',
    ];

    public function __invoke(Request $request, string $file): Response
    {
        abort_unless(isset(self::TYPES[$file]), 404);

        $response = new Response((string) file_get_contents(self::FOLDER.$file), 200, ['Content-Type' => self::TYPES[$file]]);
        $response->setEtag(self::version($file));
        $response->headers->set('Cache-Control', 'private, max-age=86400');
        $response->isNotModified($request);

        return $response;
    }

    /** Returns a text that changes with the file, for its address. */
    public static function version(string $file): string
    {
        return substr((string) hash_file('sha256', self::FOLDER.$file), 0, 12);
    }
}
