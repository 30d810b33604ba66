<?php

/** Ends in the way that ?by names, in the middle of a call: while it posts, or while it reads the result ?reads. */

require __DIR__ . '/common.inc';

final class EndsWhenEncoded implements JsonSerializable
{
    public function jsonSerialize(): mixed
    {
        end_by($_GET['by']);

        return null;
    }
}

final class EndsWhenAsked extends AsyncResult
{
    public function isReady()
    {
        end_by($_GET['by']);
    }
}

client()->PostTask('proj.echo', [1]);
result('known')->get(20);
if (isset($_GET['reads'])) {
    (new EndsWhenAsked('known', results_place()))->get(20);
} else {
    client()->PostTask('proj.echo', [new EndsWhenEncoded()]);
}
echo 'never';
