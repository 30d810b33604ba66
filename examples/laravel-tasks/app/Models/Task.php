<?php

namespace App\Models;

use AsyncResult;
use Illuminate\Database\Eloquent\Model;

class Task extends Model
{
    public const STATUS_PENDING = 'pending';
    public const STATUS_COMPLETED = 'completed';
    public const STATUS_FAILED = 'failed';

    /** The worker's future answer, known only to the request that sent the task; it is not stored. */
    public ?AsyncResult $result = null;

    protected $fillable = ['name', 'status', 'message'];
}
