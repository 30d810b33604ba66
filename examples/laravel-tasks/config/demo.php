<?php

return [
    // The folder with the pid files of workers that the page /work may kill. Only `make demo` and
    // tests set it. Without it the page kills no worker.
    'workers' => env('DEMO_WORKERS'),
];
