@if (! $recorded)
    <p class="fault">History is not recorded: the table celery_minutes does not exist. <code>php artisan migrate</code> creates it.</p>
@else
    @if (! $listening)
        <p class="warn">History is not recorded: <code>php artisan celery:listen</code> does not run for this connection.</p>
    @endif
    <nav aria-label="Span of time" class="filter">
        @foreach ($spans as $name)
            <a id="span-{{ $name }}" href="{{ route('celery.history', array_filter(['connection' => $connection, 'span' => $name, 'task' => $task])) }}" @if ($name === $span) aria-current="true" @endif>{{ ucfirst(str_replace('-', ' ', $name)) }}</a>
        @endforeach
    </nav>
    @if ($tasks === [] && $queues === [])
        <p>Nothing was recorded in this time. Workers send events if they run with <code>-E</code>.</p>
    @else
        @php
            $times = ['begin' => $points[0]['at'], 'end' => end($points)['at'] + 60 * $step];
            $steps = $step === 1 ? 'minute' : ($step < 60 ? "{$step} minutes" : ($step / 60).' hours');
        @endphp
        @if ($task !== null)
            <p>Runs and runtimes of <strong>{{ $task }}</strong>. <a id="all" href="{{ route('celery.history', ['connection' => $connection, 'span' => $span]) }}">All tasks</a></p>
        @endif
        @include('celery::live.chart', $times + ['title' => "Runs in each {$steps}", 'chart' => $charts['runs'], 'most' => (int) $charts['runs']->highest])
        @include('celery::live.chart', $times + ['title' => 'Runtime, percentiles', 'chart' => $charts['runtimes'], 'most' => \CeleryBridge\Dashboard\Seconds::show($charts['runtimes']->highest)])
        @include('celery::live.chart', $times + ['title' => 'Waiting tasks by queue', 'chart' => $charts['queues'], 'most' => (int) $charts['queues']->highest])
        <h2 id="tasks">Tasks</h2>
        <div class="scroll" tabindex="0" role="region" aria-labelledby="tasks"><table>
            <thead><tr><th scope="col">Task</th><th scope="col" class="number">Succeeded</th><th scope="col" class="number">Failed</th><th scope="col" class="number">Retried</th><th scope="col" class="number">Revoked</th><th scope="col" class="number">A minute</th><th scope="col" class="number">50 %</th><th scope="col" class="number">95 %</th><th scope="col" class="number">99 %</th></tr></thead>
            <tbody>
            @foreach ($tasks as $row)
                <tr>
                    <th scope="row"><a id="task-{{ $row['name'] }}" href="{{ route('celery.history', ['connection' => $connection, 'span' => $span, 'task' => $row['name']]) }}" @if ($row['name'] === $task) aria-current="true" @endif>{{ $row['name'] }}</a></th>
                    <td class="number">{{ number_format($row['succeeded']) }}</td>
                    <td class="number">{{ number_format($row['failed']) }}</td>
                    <td class="number">{{ number_format($row['retried']) }}</td>
                    <td class="number">{{ number_format($row['revoked']) }}</td>
                    <td class="number">{{ $row['per_minute'] }}</td>
                    @foreach (['p50', 'p95', 'p99'] as $share) <td class="number">{{ $row[$share] === null ? '' : \CeleryBridge\Dashboard\Seconds::show($row[$share]) }}</td> @endforeach
                </tr>
            @endforeach
            </tbody>
        </table></div>
        <p><small>Runtimes are those of tasks that succeeded, within 19 %. Counts are of the tasks whose workers send events.</small></p>
    @endif
@endif
