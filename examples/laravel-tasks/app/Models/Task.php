<?php

namespace App\Models;

use AsyncResult;
use Illuminate\Database\Eloquent\Model;

class Task extends Model
{
    public const STATUS_PENDING = 'pending';
    public const STATUS_COMPLETED = 'completed';
    public const STATUS_FAILED = 'failed';

    /** What the worker will answer; known to the request that sent the task, not stored. */
    public ?AsyncResult $result = null;

    protected $fillable = ['name', 'status', 'message'];
}
