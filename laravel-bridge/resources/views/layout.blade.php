<!DOCTYPE html>
<html lang="en">
<head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="light dark">
    <meta name="robots" content="noindex">
    <title>@yield('title') · Celery</title>
    <link rel="stylesheet" href="{{ route('celery.asset', ['file' => 'dashboard.css', 'v' => \CeleryBridge\Dashboard\AssetController::version('dashboard.css')]) }}">
    <script defer src="{{ route('celery.asset', ['file' => 'dashboard.js', 'v' => \CeleryBridge\Dashboard\AssetController::version('dashboard.js')]) }}"></script>
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header>
    <strong>Celery</strong>
    <nav aria-label="Pages">
        <a href="{{ route('celery.overview', ['connection' => $connection]) }}" @if ($section === 'overview') aria-current="page" @endif>Overview</a>
        <a href="{{ route('celery.jobs', ['connection' => $connection]) }}" @if ($section === 'jobs') aria-current="page" @endif>Jobs</a>
        <a href="{{ route('celery.tasks', ['connection' => $connection]) }}" @if ($section === 'tasks') aria-current="page" @endif>Tasks</a>
        <a href="{{ route('celery.history', ['connection' => $connection]) }}" @if ($section === 'history') aria-current="page" @endif>History</a>
        <a href="{{ route('celery.dead', ['connection' => $connection]) }}" @if ($section === 'dead') aria-current="page" @endif>Dead letters</a>
    </nav>
    @if (count($connections) > 1)
        <nav aria-label="Connections">
            @foreach ($connections as $name)
                <a href="{{ route('celery.overview', ['connection' => $name]) }}" @if ($name === $connection) aria-current="true" @endif>{{ $name }}</a>
            @endforeach
        </nav>
    @endif
    <span class="broker">{{ $broker }}</span>
</header>
<main id="main" tabindex="-1">
    <div class="title">
        <h1>@yield('title')</h1>
        <button type="button" id="pause" aria-pressed="false" hidden>Pause updates</button>
    </div>
    <p id="connection" role="status" class="fault" hidden></p>
    @if (session('celery.done')) <p role="status" class="done">{{ session('celery.done') }}</p> @endif
    @if (session('celery.fault')) <p role="alert" class="fault">{{ session('celery.fault') }}</p> @endif
    <div id="live" data-url="{{ request()->fullUrlWithQuery(['fragment' => 1]) }}">@yield('live')</div>
</main>
</body>
</html>
