<?php

use App\Http\Controllers\TasksController;
use App\Http\Controllers\WorkController;
use Illuminate\Support\Facades\Route;

Route::get('/', [TasksController::class, 'index'])->name('tasks.index');
Route::post('/', [TasksController::class, 'create'])->name('tasks.create');

Route::get('/work', [WorkController::class, 'index'])->name('work.index');
Route::get('/work/live', [WorkController::class, 'live'])->name('work.live');
Route::post('/work/kill', [WorkController::class, 'kill'])->name('work.kill');
Route::post('/work/{kind}', [WorkController::class, 'start'])->where('kind', 'long|fail|chord|items')->name('work.start');
