<x-pulse::card :cols="$cols" :rows="$rows" :class="$class">
    <x-pulse::card-header
        name="Celery Tasks"
        title="Time: {{ number_format($time, 0) }}ms; Run at: {{ $runAt }};"
        details="past {{ $span }}"
    >
        <x-slot name="icon">
            <x-pulse::icons.queue-list />
        </x-slot>
    </x-pulse::card-header>

    <x-pulse::scroll :expand="$expand" wire:poll.5s="">
        @if ($tasks === null)
            <p class="text-sm text-gray-500 dark:text-gray-400">Nothing is counted. Run php artisan migrate, and keep php artisan celery:listen running.</p>
        @elseif ($tasks === [])
            <x-pulse::no-results />
        @else
            <x-pulse::table>
                <colgroup>
                    <col width="100%" />
                    <col width="0%" />
                    <col width="0%" />
                    <col width="0%" />
                </colgroup>
                <x-pulse::thead>
                    <tr>
                        <x-pulse::th>Task</x-pulse::th>
                        <x-pulse::th class="text-right">Succeeded</x-pulse::th>
                        <x-pulse::th class="text-right">Failed</x-pulse::th>
                        <x-pulse::th class="text-right">95 %</x-pulse::th>
                    </tr>
                </x-pulse::thead>
                <tbody>
                    @foreach (array_slice($tasks, 0, 100) as $task)
                        <tr wire:key="{{ $task['name'] }}">
                            <x-pulse::td class="max-w-[1px]">
                                <code class="block text-xs text-gray-900 dark:text-gray-100 truncate" title="{{ $task['name'] }}">{{ $task['name'] }}</code>
                            </x-pulse::td>
                            <x-pulse::td numeric class="text-gray-700 dark:text-gray-300">{{ number_format($task['succeeded']) }}</x-pulse::td>
                            <x-pulse::td numeric class="text-gray-700 dark:text-gray-300 font-bold">{{ number_format($task['failed']) }}</x-pulse::td>
                            <x-pulse::td numeric class="text-gray-700 dark:text-gray-300">{{ $task['p95'] === null ? '' : \CeleryBridge\Dashboard\Seconds::show($task['p95']) }}</x-pulse::td>
                        </tr>
                    @endforeach
                </tbody>
            </x-pulse::table>
        @endif

        @if ($tasks !== null && count($tasks) > 100)
            <div class="mt-2 text-xs text-gray-400 text-center">Limited to 100 entries</div>
        @endif
    </x-pulse::scroll>
</x-pulse::card>
