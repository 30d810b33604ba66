@if (! $recorded)
    <p class="fault">Tasks are not recorded: the table celery_recent_tasks does not exist. <code>php artisan migrate</code> creates it.</p>
@else
    @if (! $listening)
        <p class="warn">Tasks are not recorded: <code>php artisan celery:listen</code> does not run for this connection.</p>
    @endif
    <nav aria-label="Filter" class="filter">
        @foreach ($filters as $name)
            <a id="filter-{{ $name }}" href="{{ route('celery.tasks', ['connection' => $connection, 'filter' => $name]) }}" @if ($name === $filter) aria-current="true" @endif>{{ ucfirst($name) }}</a>
        @endforeach
    </nav>
    @if ($tasks === [])
        <p>No tasks. The list has the newest tasks of all programs, if their workers send events (<code>-E</code>).</p>
    @else
        <div class="scroll" tabindex="0" role="region" aria-label="Tasks"><table>
            <thead><tr><th scope="col">Task</th><th scope="col">State</th><th scope="col">Arguments</th><th scope="col">Worker</th><th scope="col">When (UTC)</th><th scope="col" class="number">Runtime</th></tr></thead>
            <tbody>
            @foreach ($tasks as $task)
                <tr>
                    <th scope="row"><a id="task-{{ $task['id'] }}" href="{{ route('celery.task', ['id' => $task['id'], 'connection' => $connection]) }}">{{ $task['name'] }}</a>@if ($task['exception'] !== null) <small>{{ mb_strimwidth($task['exception'], 0, 120, '…') }}</small>@endif</th>
                    <td><span class="state" data-state="{{ $task['state'] }}">{{ $task['state'] }}</span></td>
                    <td class="code">{{ $task['arguments'] }}</td>
                    <td>{{ $task['worker'] }}</td>
                    <td>{{ gmdate('Y-m-d H:i:s', (int) $task['at']) }}</td>
                    <td class="number">{{ $task['runtime'] === null ? '' : \CeleryBridge\Dashboard\Seconds::show($task['runtime']) }}</td>
                </tr>
            @endforeach
            </tbody>
        </table></div>
        <nav aria-label="Pages of the list" class="filter">
            @if ($page > 1) <a id="newer" href="{{ route('celery.tasks', ['connection' => $connection, 'filter' => $filter, 'page' => $page - 1]) }}">Newer</a> @endif
            @if ($more) <a id="older" href="{{ route('celery.tasks', ['connection' => $connection, 'filter' => $filter, 'page' => $page + 1]) }}">Older</a> @endif
        </nav>
    @endif
@endif
