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
    <link rel="stylesheet" href="/app.css">
</head>
<body>
    <main>
        <h1>Tasks</h1>
        <p>Each one is sent to a Celery worker, which completes it. <a href="{{ route('work.index', [], false) }}">See them at work</a></p>

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
