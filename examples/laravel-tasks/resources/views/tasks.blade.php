@php($waiting = $tasks->contains('status', App\Models\Task::STATUS_PENDING))
<!DOCTYPE html>
<html lang="en">
<head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    @if ($waiting)
        <noscript><meta http-equiv="refresh" content="2"></noscript>
    @endif
    <title>Tasks</title>
    <style>
        :root { color-scheme: light dark; --line: #8884; --soft: #8882; --accent: #2f6f4f; }
        * { box-sizing: border-box; }
        body { margin: 0 auto; padding: 2rem 1rem; max-width: 52rem; font: 1rem/1.5 system-ui, sans-serif; }
        h1 { margin: 0 0 .25rem; font-size: 1.6rem; }
        p { margin: 0 0 1.5rem; }
        form { display: flex; flex-wrap: wrap; gap: .5rem; align-items: end; margin: 0 0 2rem; }
        label { flex: 1 1 16rem; font-weight: 600; }
        input { display: block; width: 100%; margin-top: .25rem; }
        input, button { padding: .5rem .75rem; font: inherit; border: 1px solid var(--line); border-radius: .4rem; }
        button { background: var(--accent); border-color: var(--accent); color: #fff; cursor: pointer; }
        :focus-visible { outline: 3px solid #4a90d9; outline-offset: 2px; }
        .error { flex-basis: 100%; margin: 0; color: #b3261e; }
        .scroll { overflow-x: auto; }
        table { width: 100%; border-collapse: collapse; }
        caption { text-align: left; padding-bottom: .5rem; opacity: .75; }
        th, td { padding: .5rem .75rem; text-align: left; border-bottom: 1px solid var(--line); vertical-align: top; }
        thead th { background: var(--soft); }
        td:first-child { font-variant-numeric: tabular-nums; }
        .status { display: inline-block; padding: 0 .6rem; border-radius: 1rem; font-size: .875rem; }
        .pending { background: #fdecc8; color: #6b4700; }
        .completed { background: #d7f0dd; color: #14532d; }
        .failed { background: #fbdcd9; color: #7f1d1d; }
        .new td { background: var(--soft); }
    </style>
</head>
<body>
    <main>
        <h1>Tasks</h1>
        <p>Each one is sent to a Celery worker, which completes it.</p>

        <form method="post" action="{{ route('tasks.create', [], false) }}">
            @csrf
            <label>
                New task
                <input name="name" value="{{ old('name') }}" maxlength="255" required autocomplete="off"
                    @error('name') aria-invalid="true" aria-describedby="name-error" @enderror>
            </label>
            <button>Create</button>
            @error('name')
                <p class="error" id="name-error">{{ $message }}</p>
            @enderror
        </form>

        <div class="scroll" id="tasks">
            <table>
                <caption>{{ $tasks->count() }} {{ Illuminate\Support\Str::plural('task', $tasks->count()) }}, the newest first</caption>
                <thead>
                    <tr>
                        <th scope="col">ID</th>
                        <th scope="col">Name</th>
                        <th scope="col">Status</th>
                        <th scope="col">Message</th>
                    </tr>
                </thead>
                <tbody>
                    @forelse ($tasks as $task)
                        <tr id="task-{{ $task->id }}" @class(['new' => session('created') === $task->id])>
                            <td>{{ $task->id }}</td>
                            <td>{{ $task->name }}</td>
                            <td><span class="status {{ $task->status }}">{{ $task->status }}</span></td>
                            <td>{{ $task->message }}</td>
                        </tr>
                    @empty
                        <tr><td colspan="4">No tasks yet.</td></tr>
                    @endforelse
                </tbody>
            </table>
        </div>
    </main>
    @if ($waiting)
        <script>
            // Renews only the table, until every task has an answer: text typed into the form stays.
            const timer = setInterval(async () => {
                const answer = await fetch(location.pathname);
                if (!answer.ok) return;
                const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
                document.getElementById('tasks').replaceWith(page.getElementById('tasks'));
                if (!document.querySelector('.status.pending')) clearInterval(timer);
            }, 1000);
        </script>
    @endif
</body>
</html>
