<dl>
    <dt>Task</dt><dd>{{ $job['task'] }}</dd>
    <dt>Class</dt><dd>{{ $job['class'] }}</dd>
    <dt>Id</dt><dd class="code">{{ $job['id'] }}</dd>
    <dt>State</dt><dd><span class="state" data-state="{{ $job['state'] }}">{{ $job['state'] }}</span></dd>
    <dt>Queue</dt><dd>{{ $job['queue'] }}</dd>
    <dt>Sent</dt><dd>{{ gmdate('Y-m-d H:i:s', (int) $job['created_at']) }} UTC</dd>
    @if ($job['ended_at'] !== null) <dt>Ended</dt><dd>{{ gmdate('Y-m-d H:i:s', (int) $job['ended_at']) }} UTC</dd> @endif
</dl>
<h2>Arguments</h2>
<pre tabindex="0">{{ $job['arguments'] }}</pre>
@if ($job['exception'] !== null)
    <h2>Exception</h2>
    <p class="fault">{{ $job['exception'] }}</p>
    @if ($job['traceback'] !== null) <pre tabindex="0">{{ $job['traceback'] }}</pre> @endif
@endif
@if ($job['can_retry'])
    <form method="post" action="{{ route('celery.retry', ['id' => $job['id']]) }}">
        @csrf
        <input type="hidden" name="connection" value="{{ $connection }}">
        <button id="retry">Retry</button>
    </form>
@elseif ($job['ended_at'] === null)
    @include('celery::live.revoke', ['id' => $job['id'], 'terminate' => false])
@endif
