@if ($error !== null)
    <p role="alert" class="fault">The {{ $length > 0 ? 'tasks of the queue' : 'queue' }} cannot be read: {{ $error }}</p>
    @if ($length > 0) <p>{{ $length === 1 ? '1 task waits' : number_format($length).' tasks wait' }} in this queue.</p> @endif
@elseif ($read === 0)
    <p>No task waits in this queue. Workers may hold tasks that they have taken from it.</p>
@else
    <p>{{ $length === 1 ? '1 task waits' : number_format($length).' tasks wait' }} in this queue.</p>
    <section aria-labelledby="names">
        <h2 id="names">By name{{ $read < $length ? ", of the first {$read}" : '' }}</h2>
        <div class="scroll" tabindex="0" role="region" aria-labelledby="names"><table>
            <thead><tr><th scope="col">Task</th><th scope="col" class="number">Waiting</th></tr></thead>
            <tbody>
            @foreach ($names as $name => $count)
                <tr><th scope="row">{{ $name }}</th><td class="number">{{ $count }}</td></tr>
            @endforeach
            </tbody>
        </table></div>
    </section>
    <section aria-labelledby="tasks">
        <h2 id="tasks">{{ count($tasks) < $length ? 'The next '.count($tasks) : 'Tasks' }}</h2>
        <div class="scroll" tabindex="0" role="region" aria-labelledby="tasks"><table>
            <thead><tr><th scope="col">Task</th><th scope="col">Arguments</th><th scope="col">Id</th><th scope="col" class="number">Priority</th><th scope="col" class="number">Bytes</th><th scope="col"><span class="hidden">Action</span></th></tr></thead>
            <tbody>
            @foreach ($tasks as $task)
                <tr>
                    <th scope="row">{{ $task['task'] ?? 'unreadable' }}@if ($task['eta'] !== null) <small>not before {{ $task['eta'] }}</small>@endif</th>
                    <td class="code">{{ $task['arguments'] }}</td>
                    <td class="code">{{ $task['id'] }}</td>
                    <td class="number">{{ $task['priority'] }}</td>
                    <td class="number">{{ number_format($task['size']) }}</td>
                    <td>@if ($task['id'] !== null) @include('celery::live.revoke', ['id' => $task['id'], 'terminate' => false]) @endif</td>
                </tr>
            @endforeach
            </tbody>
        </table></div>
    </section>
@endif
