"""Python Celery as a producer: send_task, one at a time, one producer held open.

Order: {posts, body}; answer: {seconds, processor}. BENCH_RESULTS=0 turns the result backend off.
With `round_trip` in the order it waits for each result: {latencies}.
"""

import json
import sys
import time

from tasks import app


def post(order):
    args = ["x" * order["body"]]
    with app.producer_pool.acquire(block=True) as producer:
        begin, processor = time.perf_counter(), time.process_time()
        for _ in range(order["posts"]):
            app.send_task("noop", args, producer=producer)
        return {"seconds": time.perf_counter() - begin, "processor": time.process_time() - processor}


def round_trip(order):
    latencies, wrong = [], 0
    with app.producer_pool.acquire(block=True) as producer:
        for number in range(order["posts"]):
            begin = time.perf_counter()
            result = app.send_task("proj.add", [number, 1], producer=producer)
            wrong += result.get(timeout=10) != number + 1
            latencies.append(time.perf_counter() - begin)
    return {"latencies": latencies, "wrong": wrong}


print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    order = json.loads(line)
    print(json.dumps(round_trip(order) if order.get("round_trip") else post(order)), flush=True)
