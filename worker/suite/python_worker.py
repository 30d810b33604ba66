"""The app for Python's worker: the suite's tasks, with the settings of its `conftest.py`.

Only the worker imports this module. The tests make apps of their own, as they do upstream.
"""

import os

from celery import Celery

app = Celery("suite", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])
app.conf.update(
    accept_content={"json"},
    result_extended=True,
    task_create_missing_queues=False,
    worker_hijack_root_logger=False,
)
app.set_default()

from t.integration import tasks  # noqa: E402 (a shared task belongs to the default app)

app.register_task(tasks.ClassBasedAutoRetryTask)
