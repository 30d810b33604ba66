@if ($error !== null)
    <p role="alert" class="fault">The dead letter cannot be read: {{ $error }}</p>
@elseif ($letter === null)
    <p>This dead letter was put back into its queue, or deleted.</p>
@else
    <dl>
        <dt>Task</dt><dd>{{ $letter['task'] ?? 'unknown' }}</dd>
        <dt>Id</dt><dd class="code">{{ $letter['id'] ?? 'unknown' }}</dd>
        <dt>Cause</dt><dd>{{ $letter['cause'] }}</dd>
        <dt>Queue</dt><dd>{{ $letter['queue'] === '' ? 'unknown' : $letter['queue'] }}</dd>
        <dt>Worker</dt><dd>{{ $letter['worker'] }}</dd>
        <dt>When</dt><dd>{{ gmdate('Y-m-d H:i:s', (int) $letter['at']) }} UTC</dd>
        <dt>Size</dt><dd>{{ number_format($letter['size']) }} bytes</dd>
        <dt>Place</dt><dd class="code">{{ $letter['place'] }}</dd>
    </dl>
    <h2>Arguments</h2>
    <pre tabindex="0">{{ $letter['arguments'] }}</pre>
    @if ($is_tracked)
        <p><a id="job" href="{{ route('celery.job', ['id' => $letter['id'], 'connection' => $connection]) }}">The job of this task</a></p>
    @endif
    @include('celery::live.replay', ['place' => $letter['place']])
@endif
