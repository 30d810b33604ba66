<dl>
    <dt>Task</dt><dd>{{ $task['name'] }}</dd>
    <dt>Id</dt><dd class="code">{{ $task['id'] }}</dd>
    <dt>State</dt><dd><span class="state" data-state="{{ $task['state'] }}">{{ $task['state'] }}</span></dd>
    <dt>Worker</dt><dd>{{ $task['worker'] }}</dd>
    <dt>When</dt><dd>{{ gmdate('Y-m-d H:i:s', (int) $task['at']) }} UTC</dd>
    @if ($task['runtime'] !== null) <dt>Runtime</dt><dd>{{ \CeleryBridge\Dashboard\Seconds::show($task['runtime']) }}</dd> @endif
</dl>
<h2>Arguments</h2>
<pre tabindex="0">{{ $task['arguments'] }}</pre>
@if ($task['exception'] !== null)
    <h2>Exception</h2>
    <p class="fault">{{ $task['exception'] }}</p>
    @if ($task['traceback'] !== null) <pre tabindex="0">{{ $task['traceback'] }}</pre> @endif
@endif
@if ($is_job)
    <p><a id="job" href="{{ route('celery.job', ['id' => $task['id'], 'connection' => $connection]) }}">The job of this task</a></p>
@elseif ($can_repeat)
    <form method="post" action="{{ route('celery.repeat') }}" data-confirm="Send the task again?">
        @csrf
        <input type="hidden" name="connection" value="{{ $connection }}">
        <input type="hidden" name="id" value="{{ $task['id'] }}">
        <button id="repeat">Send again</button>
    </form>
@else
    <p><small>It can be sent again from here if workers store the arguments with the result (<code>result_extended</code>).</small></p>
@endif
