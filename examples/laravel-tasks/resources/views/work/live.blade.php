@php
    $start = fn (string $kind) => route('work.start', $kind, false);
    $seconds = fn (?float $seconds) => $seconds === null ? '' : number_format($seconds, $seconds < 10 ? 2 : 1) . ' s';
@endphp
<section class="card" id="task">
    <h2>A task</h2>
    <p>A row in MySQL. A worker completes it.</p>
    <form method="post" action="{{ route('tasks.create', [], false) }}">
        @csrf
        <label>New task <input name="name" maxlength="255" required autocomplete="off"></label>
        <button>Create</button>
    </form>
    <ul class="rows">
        @forelse ($tasks as $task)
            <li><span class="status {{ $task->status }}">{{ $task->status }}</span> {{ $task->name }} <small>{{ $task->message }}</small></li>
        @empty
            <li>No tasks yet.</li>
        @endforelse
    </ul>
</section>

<section class="card" id="long">
    <h2>A long task</h2>
    <p>It reports its progress.</p>
    <form method="post" action="{{ $start('long') }}">
        @csrf
        <label>Seconds <input type="number" name="seconds" value="6" min="1" max="60" step="any"></label>
        <button>Start</button>
    </form>
    @isset($long)
        @php($done = $long['state'] === 'SUCCESS')
        <p class="line">
            <span class="state" data-state="{{ $long['state'] }}">{{ $long['state'] }}</span>
            @include('work.worker', ['name' => $long['worker']])
            <span class="time">{{ $seconds($long['seconds'] ?? null) }}</span>
        </p>
        <progress max="100" value="{{ $done ? 100 : $long['percent'] ?? 0 }}" aria-label="Progress"></progress>
        <ol class="steps">
            @foreach ($done ? $long['value'] : $long['steps'] ?? [] as $step)
                <li>{{ $step['name'] }} <span class="time">{{ $seconds($step['seconds']) }}</span></li>
            @endforeach
            @isset($long['step'])
                <li class="now">{{ $long['step'] }} …</li>
            @endisset
        </ol>
        @isset($long['reason'])
            <p class="reason">{{ $long['reason'] }}</p>
        @endisset
    @endisset
</section>

<section class="card" id="fail">
    <h2>A task that fails</h2>
    <p>PHP gets the worker's exception as its own.</p>
    <form method="post" action="{{ $start('fail') }}">
        @csrf
        <button>Start</button>
    </form>
    @isset($fail)
        <p class="line">
            <span class="state" data-state="{{ $fail['state'] }}">{{ $fail['state'] }}</span>
            @include('work.worker', ['name' => $fail['worker']])
            @isset($fail['total'])
                <span class="time">{{ $seconds($fail['total']) }} after the post</span>
            @endisset
        </p>
        @isset($fail['reason'])
            <p class="reason">{{ $fail['reason'] }}</p>
        @endisset
    @endisset
</section>

<section class="card" id="chord">
    <h2>A chord</h2>
    <p>{{ App\Services\WorkService::MEMBERS }} tasks side by side, then one that gets all their results.</p>
    <form method="post" action="{{ $start('chord') }}">
        @csrf
        <label>Seconds for one <input type="number" name="seconds" value="0.5" min="0" max="60" step="any"></label>
        <button>Start</button>
    </form>
    @isset($chord)
        <ol class="tiles">
            @foreach ($chord['members'] as $member)
                <li class="tile {{ strtolower($member['language'] ?? '') }}" data-state="{{ $member['state'] }}"
                    title="{{ $member['worker'] }} {{ $seconds($member['seconds'] ?? null) }}">
                    <b>{{ $member['value'] ?? '·' }}</b>
                    <small>{{ $seconds($member['seconds'] ?? null) }}</small>
                </li>
            @endforeach
        </ol>
        <p class="line">
            <span class="state" data-state="{{ $chord['sum']['state'] }}">{{ $chord['sum']['state'] }}</span>
            @isset($chord['sum']['value'])
                <b class="sum">Σ {{ $chord['sum']['value'] }}</b>
                @include('work.worker', ['name' => $chord['sum']['worker']])
                <span class="time">{{ $seconds($chord['sum']['total']) }} in all</span>
            @endisset
        </p>
        @isset($chord['sum']['reason'])
            <p class="reason">{{ $chord['sum']['reason'] }}</p>
        @endisset
    @endisset
</section>

<section class="card broad" id="items">
    <h2>{{ number_format(App\Services\WorkService::ITEMS) }} tasks</h2>
    <p>Each completes a row in MySQL. Kill a worker in the middle: another one finishes its tasks.</p>
    <form method="post" action="{{ $start('items') }}">
        @csrf
        <label>Milliseconds for one <input type="number" name="milliseconds" value="20" min="0" max="1000"></label>
        <button>Create {{ number_format(App\Services\WorkService::ITEMS) }}</button>
    </form>
    @isset($items)
        @php($posted = max(1, $items['posted']))
        <div class="bar" role="img" aria-label="{{ $items['done'] }} of {{ $items['posted'] }} done">
            @foreach ($items['by'] as $name => $done)
                <span class="{{ strtok($name, '0123456789@') }}" style="width: {{ 100 * $done / $posted }}%"></span>
            @endforeach
        </div>
        <dl class="figures">
            <div><dt>done</dt><dd data-figure="done">{{ $items['done'] }}</dd></div>
            <div><dt>waiting</dt><dd data-figure="waiting">{{ $items['waiting'] }}</dd></div>
            <div><dt>with a worker</dt><dd data-figure="held">{{ $items['held'] }}</dd></div>
            <div><dt>a second</dt><dd data-figure="rate">{{ $items['rate'] }}</dd></div>
            <div><dt>run again</dt><dd data-figure="again">{{ $items['again'] }}</dd></div>
            @isset($items['lost'])
                <div class="lost"><dt>lost</dt><dd data-figure="lost" @class(['some' => $items['lost'] > 0])>{{ $items['lost'] }}</dd></div>
            @endisset
        </dl>
        <p class="time">{{ $items['done'] === $items['posted'] ? 'All in ' . $seconds($items['seconds']) : '' }}</p>
    @endisset
</section>

<section class="card broad" id="workers">
    <h2>Workers</h2>
    <ul class="rows">
        @forelse ($workers as $worker)
            <li data-worker="{{ $worker['name'] }}">
                @include('work.worker', ['name' => $worker['name']])
                {{ $worker['pid'] === null ? '' : "process {$worker['pid']}," }} {{ number_format($worker['done']) }} of the items
                @if ($worker['canBeKilled'])
                    <form method="post" action="{{ route('work.kill', [], false) }}">
                        @csrf
                        <button class="kill" name="worker" value="{{ $worker['name'] }}">Kill {{ $worker['name'] }}</button>
                    </form>
                @endif
            </li>
        @empty
            <li>None has completed an item yet.</li>
        @endforelse
    </ul>
</section>
