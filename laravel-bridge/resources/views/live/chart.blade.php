<figure>
    <figcaption>{{ $title }} @foreach ($chart->names() as $number => $name) <span class="key-{{ $chart->colour($number) }}">{{ $name }}</span> @endforeach</figcaption>
    <svg class="chart" viewBox="0 0 {{ \CeleryBridge\Dashboard\Chart::WIDTH }} {{ \CeleryBridge\Dashboard\Chart::HEIGHT + 2 }}" preserveAspectRatio="none" role="img" aria-label="{{ $title }}, {{ $chart->isEmpty ? 'nothing to show' : "at most {$most}" }}">
        @foreach (array_values($chart->bars) as $number => $bars)
            @foreach ($bars as $bar) <rect class="key-{{ $chart->colour($number) }}" x="{{ $bar['x'] }}" y="{{ $bar['y'] }}" width="{{ $bar['width'] }}" height="{{ $bar['height'] }}"/> @endforeach
        @endforeach
        @foreach (array_values($chart->lines) as $number => $pieces)
            @foreach ($pieces as $points) <polyline class="key-{{ $chart->colour($number) }}" points="{{ $points }}"/> @endforeach
        @endforeach
    </svg>
    <p class="axis"><span>{{ gmdate('D H:i', $begin) }}</span><span>{{ $chart->isEmpty ? 'nothing to show' : "highest: {$most}" }}</span><span>{{ gmdate('D H:i', $end) }} UTC</span></p>
</figure>
