<?php

namespace App\Http\Controllers;

use App\Services\TaskService;
use Illuminate\Http\Request;
use Illuminate\Routing\Controller;

class TasksController extends Controller
{
    private TaskService $tasks;

    public function __construct(TaskService $tasks)
    {
        $this->tasks = $tasks;
    }

    public function index()
    {
        return view('tasks', ['tasks' => $this->tasks->fetchAllTasks()]);
    }

    public function create(Request $request)
    {
        $name = $request->validate(['name' => 'required|string|max:255'])['name'];
        $task = $this->tasks->createTask($name);

        return back()->with('created', $task->id);
    }
}
