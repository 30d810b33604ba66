@isset($name)
    <span class="worker {{ strtok($name, '0123456789@') }}">{{ strtok($name, '@') }}</span>
@endisset
