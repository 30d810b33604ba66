"""A Celery app: its worker has tasks of the playground, and run as a program it asks workers.

As a program it reads requests from its input, with one JSON object in each line. For each request
it writes a line with one object: the node names and their answers.
"""

import json
import os
import sys
import time

from celery import Celery
from celery.exceptions import Reject

# Longer than a busy machine needs to answer; with the number of workers known, no call waits.
PATIENCE = 30

app = Celery("proj", broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_URL"])
app.conf.broker_connection_retry_on_startup = True
app.conf.worker_hijack_root_logger = False
if "DESCRIBED_RESULTS" in os.environ:
    app.conf.update(result_extended=True, task_track_started=True)
if "SENT_EVENTS" in os.environ:
    app.conf.task_send_sent_event = True
for name in ("RESULT_EXPIRES", "RESULT_FAILURE_EXPIRES", "RESULT_CHORD_EXPIRES"):
    if name in os.environ:
        app.conf[name.lower()] = int(os.environ[name])


@app.task(name="proj.sleep")
def sleep(seconds):
    time.sleep(seconds)


@app.task(name="proj.echo")
def echo(*args, **kwargs):
    return {"args": list(args), "kwargs": kwargs}


@app.task(name="proj.add")
def add(x, y):
    return x + y


@app.task(name="proj.fail")
def fail(message):
    raise ValueError(message)


@app.task(name="proj.retry_noexc", bind=True)
def retry_noexc(self, countdown):
    raise self.retry(countdown=countdown)


# A message that was acknowledged before its task began cannot be rejected.
@app.task(name="proj.reject", acks_late=True)
def reject():
    raise Reject("no", requeue=False)


def main():
    for line in sys.stdin:
        request = json.loads(line)
        with app.connection_or_acquire() as connection:
            # `app.control.broadcast` refuses arguments that are not an object.
            replies = app.control.mailbox(connection)._broadcast(
                request["method"],
                request.get("arguments"),
                destination=request.get("destination"),
                pattern=request.get("pattern"),
                matcher=request.get("matcher"),
                reply=request.get("limit", 1) > 0,
                timeout=request.get("timeout", PATIENCE),
                limit=request.get("limit", 1) or None,
            )
        answers = {}
        for reply in replies or []:
            answers.update(reply)
        print(json.dumps(answers), flush=True)


if __name__ == "__main__":
    main()
