@if (! $recorded)
    <p class="fault">History is not recorded: the table celery_jobs does not exist. <code>php artisan migrate</code> creates it.</p>
@else
    @if (! $listening)
        <p class="warn">Outcomes are not recorded: <code>php artisan celery:listen</code> does not run for this connection. Jobs stay open in this list.</p>
    @endif
    <nav aria-label="Filter" class="filter">
        @foreach ($filters as $name)
            <a href="{{ route('celery.jobs', ['connection' => $connection, 'filter' => $name]) }}" @if ($name === $filter) aria-current="true" @endif>{{ ucfirst($name) }}</a>
        @endforeach
    </nav>
    @if ($jobs === [])
        <p>No jobs. The list has the jobs that went through a queue connection with the driver <code>celery</code>.</p>
    @else
        <div class="scroll" tabindex="0" role="region" aria-label="Jobs"><table>
            <thead><tr><th scope="col">Task</th><th scope="col">State</th><th scope="col">Queue</th><th scope="col">Arguments</th><th scope="col">Sent (UTC)</th><th scope="col" class="number">Seconds to the end</th></tr></thead>
            <tbody>
            @foreach ($jobs as $job)
                <tr>
                    <th scope="row"><a id="job-{{ $job['id'] }}" href="{{ route('celery.job', ['id' => $job['id'], 'connection' => $connection]) }}">{{ $job['task'] }}</a></th>
                    <td><span class="state" data-state="{{ $job['state'] }}">{{ $job['state'] }}</span></td>
                    <td>{{ $job['queue'] }}</td>
                    <td class="code">{{ $job['arguments'] }}</td>
                    <td>{{ gmdate('Y-m-d H:i:s', (int) $job['created_at']) }}</td>
                    <td class="number">{{ $job['ended_at'] === null ? '' : number_format($job['ended_at'] - $job['created_at'], 1) }}</td>
                </tr>
            @endforeach
            </tbody>
        </table></div>
        <nav aria-label="Pages of the list" class="filter">
            @if ($page > 1) <a id="newer" href="{{ route('celery.jobs', ['connection' => $connection, 'filter' => $filter, 'page' => $page - 1]) }}">Newer</a> @endif
            @if ($more) <a id="older" href="{{ route('celery.jobs', ['connection' => $connection, 'filter' => $filter, 'page' => $page + 1]) }}">Older</a> @endif
        </nav>
    @endif
@endif
