"""Python Celery as a producer for RabbitMQ: send_task, one at a time, one producer held open.

Order: {posts, body}; answer: {seconds, processor}. Each message is confirmed by the broker.
"""

import json
import os
import sys
import time

from celery import Celery
from kombu import Queue

app = Celery("bench", broker=os.environ["AMQP_URL"])
app.conf.broker_transport_options = {"confirm_publish": True}
app.conf.task_ignore_result = True
# It exists, with arguments that Celery does not know.
QUEUE = Queue("bench", routing_key="bench", no_declare=True)


def post(order):
    args = ["x" * order["body"]]
    with app.producer_pool.acquire(block=True) as producer:
        begin, processor = time.perf_counter(), time.process_time()
        for _ in range(order["posts"]):
            app.send_task("noop", args, producer=producer, queue=QUEUE, ignore_result=True)
        return {"seconds": time.perf_counter() - begin, "processor": time.process_time() - processor}


print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    print(json.dumps(post(json.loads(line))), flush=True)
