<!DOCTYPE html>
<html lang="en">
<head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <noscript><meta http-equiv="refresh" content="3"></noscript>
    <title>Work</title>
    <link rel="stylesheet" href="/app.css">
</head>
<body class="wide">
    <header>
        <h1>Work</h1>
        <p>Laravel posts tasks; Celery workers in Rust and Python run them. <a href="{{ route('tasks.index', [], false) }}">All tasks</a></p>
        <p class="fault" id="fault" role="status" hidden></p>
    </header>
    <main class="cards" id="live" data-url="{{ route('work.live', [], false) }}">
        @include('work.live')
    </main>
    <script src="/work.js"></script>
</body>
</html>
