<?php

declare(strict_types=1);

namespace CeleryParity;

/**
 * Reads a posted envelope as the request that a worker would see, so that protocols 1 and 2 can be
 * compared.
 *
 * Fields at their default are left out, because they change nothing. So is bookkeeping (origin,
 * language, the readable forms of the arguments, …), which does not belong to the request.
 */
final class Message
{
    private const BOOKKEEPING = ['lang', 'origin', 'argsrepr', 'kwargsrepr', 'root_id', 'parent_id', 'shadow', 'ignore_result', 'replaced_task_nesting', 'stamped_headers', 'stamps'];

    public static function task(\stdClass $envelope): array
    {
        $body = json_decode(base64_decode($envelope->body, true));
        if (is_array($body)) {
            $fields = array_diff_key((array) $envelope->headers, array_flip(self::BOOKKEEPING));
            $fields = ['args' => $body[0], 'kwargs' => $body[1]] + $fields + (array) $body[2];
        } elseif ($body instanceof \stdClass) {
            $fields = (array) $body + (array) $envelope->headers;
        } else {
            return ['unreadable' => true];
        }
        $first = ['task' => null, 'id' => null, 'args' => null, 'kwargs' => null];
        $more = array_filter(array_diff_key($fields, $first), fn (mixed $value, string $name) => !self::isDefault($name, $value), ARRAY_FILTER_USE_BOTH);
        ksort($more);

        return array_replace($first, array_intersect_key($fields, $first)) + $more;
    }

    private static function isDefault(string $name, mixed $value): bool
    {
        return $value === null
            || ($name === 'retries' && $value === 0)
            || ($name === 'timelimit' && $value === [null, null])
            || ($name === 'utc' && $value === true);
    }
}
