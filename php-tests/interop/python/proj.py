"""The tasks that every worker of these tests has; the Rust example `playground` has them too."""

import json
import os
import time

from celery import Celery

RESULTS = os.environ["REDIS_URL"]
app = Celery("proj", broker=os.environ.get("BROKER_URL", RESULTS), backend=os.environ.get("RESULT_BACKEND", RESULTS))
app.conf.broker_connection_retry_on_startup = True
app.conf.accept_content = ["json", "msgpack", "yaml"]
# The options that a test sets for all programs alike, such as priority_steps and sep.
app.conf.broker_transport_options = json.loads(os.environ.get("TRANSPORT_OPTIONS", "{}"))
if prefix := app.conf.broker_transport_options.get("global_keyprefix"):
    app.conf.result_backend_transport_options = {"global_keyprefix": prefix}
app.conf.update(json.loads(os.environ.get("SETTINGS", "{}")))


@app.task(name="proj.add")
def add(x, y):
    return x + y


@app.task(name="proj.mul")
def mul(x, y):
    return x * y


@app.task(name="proj.xsum")
def xsum(numbers):
    return sum(numbers)


@app.task(name="proj.echo")
def echo(*args, **kwargs):
    return {"args": list(args), "kwargs": kwargs}


@app.task(name="proj.fail")
def fail(message="failed"):
    raise ValueError(message)


@app.task(name="proj.retrying", bind=True, max_retries=2)
def retrying(self):
    try:
        raise OSError("not yet")
    except OSError as error:
        # A shorter time is refused by Celery on quorum queues.
        raise self.retry(exc=error, countdown=1) from error


@app.task(name="proj.sleep")
def sleep(seconds):
    time.sleep(seconds)
    return seconds


@app.task(name="proj.custom_state", bind=True)
def custom_state(self):
    self.update_state(state="PROGRESS", meta={"current": 50, "total": 100})
    time.sleep(0.7)
    return "done"
