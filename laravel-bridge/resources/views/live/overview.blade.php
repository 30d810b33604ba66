@if ($error !== null)
    <p role="alert" class="fault">The workers cannot be asked: {{ $error }}</p>
@endif
<section aria-labelledby="queues">
    <h2 id="queues">Queues</h2>
    @if ($queues_error !== null) <p class="fault">The lengths cannot be read: {{ $queues_error }}</p> @endif
    <div class="scroll" tabindex="0" role="region" aria-labelledby="queues"><table>
        <thead><tr><th scope="col">Queue</th><th scope="col" class="number">Waiting</th><th scope="col" class="number">Workers</th></tr></thead>
        <tbody>
        @foreach ($queues as $queue)
            <tr>
                <th scope="row"><a id="queue-{{ $queue['name'] }}" href="{{ route('celery.queue', ['queue' => $queue['name'], 'connection' => $connection]) }}">{{ $queue['name'] }}</a></th>
                <td class="number">{{ $queue['length'] ?? 'unknown' }}</td>
                <td class="number">{{ $queue['consumers'] }}@if ($queue['consumers'] === 0 && $error === null) <span class="warn">no worker</span>@endif</td>
            </tr>
        @endforeach
        </tbody>
    </table></div>
    @if ($dead !== null && $dead > 0)
        <p class="warn"><a id="dead" href="{{ route('celery.dead', ['connection' => $connection]) }}">{{ $dead === 1 ? '1 dead letter' : "{$dead} dead letters" }}</a>: messages that no worker could run.</p>
    @endif
</section>
<section aria-labelledby="workers">
    <h2 id="workers">Workers ({{ count($workers) }})</h2>
    @if ($workers === [])
        <p>No worker answered. A worker that runs without remote control does not answer.</p>
    @else
        <div class="scroll" tabindex="0" role="region" aria-labelledby="workers"><table>
            <thead><tr><th scope="col">Worker</th><th scope="col">Queues</th><th scope="col" class="number">Concurrency</th><th scope="col" class="number">Tasks received</th><th scope="col" class="number">Uptime</th></tr></thead>
            <tbody>
            @foreach ($workers as $worker)
                <tr>
                    <th scope="row">{{ $worker['name'] }}</th>
                    <td>{{ implode(', ', $worker['queues']) }}</td>
                    <td class="number">{{ $worker['concurrency'] ?? 'unknown' }}</td>
                    <td class="number">{{ $worker['done'] }}</td>
                    <td class="number">{{ $worker['uptime'] === null ? 'unknown' : intdiv($worker['uptime'], 60).' min' }}</td>
                </tr>
            @endforeach
            </tbody>
        </table></div>
    @endif
</section>
@foreach (['running' => 'Running tasks', 'waiting' => 'Tasks that workers hold'] as $list => $heading)
    <section aria-labelledby="{{ $list }}">
        <h2 id="{{ $list }}">{{ $heading }} ({{ count($$list) }}{{ count($$list) === \CeleryBridge\Dashboard\LiveState::TASKS ? ' or more' : '' }})</h2>
        @if ($$list === [])
            <p>None.</p>
        @else
            <div class="scroll" tabindex="0" role="region" aria-labelledby="{{ $list }}"><table>
                <thead><tr><th scope="col">Task</th><th scope="col">Arguments</th><th scope="col">Worker</th><th scope="col">Id</th><th scope="col"><span class="hidden">Action</span></th></tr></thead>
                <tbody>
                @foreach ($$list as $task)
                    <tr>
                        <th scope="row">{{ $task['name'] }}@if ($task['eta'] !== null) <small>not before {{ $task['eta'] }}</small>@endif</th>
                        <td class="code">{{ $task['arguments'] }}</td>
                        <td>{{ $task['worker'] }}</td>
                        <td class="code">{{ $task['id'] }}</td>
                        <td>@include('celery::live.revoke', ['id' => $task['id'], 'terminate' => $list === 'running'])</td>
                    </tr>
                @endforeach
                </tbody>
            </table></div>
        @endif
    </section>
@endforeach
