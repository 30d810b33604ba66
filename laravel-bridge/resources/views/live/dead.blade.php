@if ($error !== null)
    <p role="alert" class="fault">The dead letters cannot be read: {{ $error }}</p>
@elseif ($letters === [])
    <p>No dead letters. A message becomes one if no Rust worker can run it: it is malformed, its task is not known, or it was begun too often.</p>
@else
    <p>{{ $total === 1 ? '1 dead letter' : "{$total} dead letters" }} in all.</p>
    <form method="post" id="selection" action="{{ route('celery.replay') }}" data-confirm="Put the selected messages back into their queues?">
        @csrf
        <input type="hidden" name="connection" value="{{ $connection }}">
        <button id="replay-selected">Replay the selected</button>
    </form>
    <div class="scroll" tabindex="0" role="region" aria-label="Dead letters"><table>
        <thead><tr><th scope="col"><span class="hidden">Selected</span></th><th scope="col">Task</th><th scope="col">Cause</th><th scope="col">Queue</th><th scope="col">Id</th><th scope="col">When (UTC)</th><th scope="col" class="number">Bytes</th><th scope="col"><span class="hidden">Action</span></th></tr></thead>
        <tbody>
        @foreach ($letters as $letter)
            <tr>
                <td><input type="checkbox" form="selection" name="places[]" value="{{ $letter['place'] }}" id="select-{{ $letter['place'] }}" aria-label="Select {{ $letter['task'] ?? 'the message' }} of {{ gmdate('Y-m-d H:i:s', (int) $letter['at']) }}"></td>
                <th scope="row"><a id="letter-{{ $letter['place'] }}" href="{{ route('celery.letter', ['place' => $letter['place'], 'connection' => $connection]) }}">{{ $letter['task'] ?? 'unknown' }}</a></th>
                <td>{{ $letter['cause'] }}</td>
                <td>{{ $letter['queue'] }}</td>
                <td class="code">{{ $letter['id'] }}</td>
                <td>{{ gmdate('Y-m-d H:i:s', (int) $letter['at']) }}</td>
                <td class="number">{{ number_format($letter['size']) }}</td>
                <td>@include('celery::live.replay', ['place' => $letter['place']])</td>
            </tr>
        @endforeach
        </tbody>
    </table></div>
    <nav aria-label="Pages of the list" class="filter">
        @if ($before !== null) <a id="newest" href="{{ route('celery.dead', ['connection' => $connection]) }}">Newest</a> @endif
        @if ($older !== null) <a id="older" href="{{ route('celery.dead', ['connection' => $connection, 'before' => $older]) }}">Older</a> @endif
    </nav>
@endif
