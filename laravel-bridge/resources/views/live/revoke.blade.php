<form method="post" action="{{ route('celery.revoke') }}" data-confirm="{{ $terminate ? 'Stop' : 'Revoke' }} the task {{ $id }}?">
    @csrf
    <input type="hidden" name="connection" value="{{ $connection }}">
    <input type="hidden" name="id" value="{{ $id }}">
    @if ($terminate) <input type="hidden" name="terminate" value="1"> @endif
    <button id="revoke-{{ $id }}" aria-label="{{ $terminate ? 'Stop' : 'Revoke' }} the task {{ $id }}">{{ $terminate ? 'Stop' : 'Revoke' }}</button>
</form>
