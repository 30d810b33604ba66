<?php

namespace App\Models;

use DateTimeImmutable;
use DateTimeZone;
use Illuminate\Database\Eloquent\Model;

/**
 * Something that was started on the page /work: one task, a chord, or 1,000 items.
 */
class Run extends Model
{
    public $timestamps = false;

    protected $fillable = ['kind', 'tasks', 'posted', 'posted_at'];

    protected $casts = ['tasks' => 'array'];

    public static function latestOf(string $kind): ?self
    {
        return self::query()->where('kind', $kind)->orderByDesc('id')->first();
    }

    /**
     * Returns the seconds from the post to a time.
     */
    public function secondsUntil(DateTimeImmutable $time): float
    {
        $posted = new DateTimeImmutable($this->posted_at, new DateTimeZone('UTC'));

        return max(0.0, (float) $time->format('U.u') - (float) $posted->format('U.u'));
    }
}
