<form method="post" action="{{ route('celery.replay') }}" data-confirm="Put the message back into its queue?">
    @csrf
    <input type="hidden" name="connection" value="{{ $connection }}">
    <input type="hidden" name="places[]" value="{{ $place }}">
    <button id="replay-{{ $place }}" aria-label="Replay the message {{ $place }}">Replay</button>
</form>
