<?php

declare(strict_types=1);

use CeleryBridge\Dashboard\ActionController;
use CeleryBridge\Dashboard\AssetController;
use CeleryBridge\Dashboard\Dashboard;
use CeleryBridge\Dashboard\DeadLetterController;
use CeleryBridge\Dashboard\HistoryController;
use CeleryBridge\Dashboard\PageController;
use CeleryBridge\Dashboard\QueueController;
use CeleryBridge\Dashboard\TaskController;
use Illuminate\Support\Facades\Route;

Route::group(Dashboard::group(app('config')), static function (): void {
    Route::get('/', ['as' => 'overview', 'uses' => PageController::class.'@overview']);
    Route::get('/jobs', ['as' => 'jobs', 'uses' => PageController::class.'@jobs']);
    Route::get('/jobs/{id}', ['as' => 'job', 'uses' => PageController::class.'@job']);
    Route::post('/jobs/{id}/retry', ['as' => 'retry', 'uses' => ActionController::class.'@retry']);
    Route::post('/revoke', ['as' => 'revoke', 'uses' => ActionController::class.'@revoke']);
    Route::get('/tasks', ['as' => 'tasks', 'uses' => TaskController::class.'@index']);
    Route::get('/task', ['as' => 'task', 'uses' => TaskController::class.'@show']);
    Route::post('/task/repeat', ['as' => 'repeat', 'uses' => TaskController::class.'@repeat']);
    Route::get('/history', ['as' => 'history', 'uses' => HistoryController::class]);
    Route::get('/queue', ['as' => 'queue', 'uses' => QueueController::class]);
    Route::get('/dead', ['as' => 'dead', 'uses' => DeadLetterController::class.'@index']);
    Route::get('/dead/{place}', ['as' => 'letter', 'uses' => DeadLetterController::class.'@show']);
    Route::post('/dead/replay', ['as' => 'replay', 'uses' => DeadLetterController::class.'@replay']);
    Route::get('/assets/{file}', ['as' => 'asset', 'uses' => AssetController::class]);
});
