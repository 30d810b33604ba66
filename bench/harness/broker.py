"""The private Redis: it fills queues, counts what is left there, and counts the calls.

Tasks are in database 0, which is empty at the start of every round. The messages for workers are
made once and kept in database 1. Each round copies them to database 0.
"""

import base64
import contextlib
import json
import os
import uuid

import redis

from . import processors

QUEUE = "celery"
# The keys under which workers keep the messages of unfinished tasks: the first for kombu and this
# project, the second for rusty-celery.
HELD = ["unacked", "_celery.celery_process_map"]
TASK_ID = "11111111-2222-4333-8444-555555555555"
NUMBER = 987654321
DAY = 24 * 3600


def connect(database=0):
    return redis.Redis(unix_socket_path=os.environ["REDIS_SOCKET"], db=database)


class Messages:
    """Messages made by Python Celery, with our ids and arguments."""

    def __init__(self):
        from celery import Celery

        app = Celery(broker=os.environ["REDIS_URL"])
        self.samples = {}
        for task, args in {
            "noop": [NUMBER],
            "noop sized": [NUMBER, "BODY"],
            "noop eta": [NUMBER],
            "task_created": [NUMBER],
        }.items():
            countdown = DAY if task == "noop eta" else None
            app.send_task(task.split()[0], args, task_id=TASK_ID, queue="bench:sample", countdown=countdown)
            self.samples[task] = json.loads(connect().rpop("bench:sample"))
        connect().flushdb()
        app.close()

    def make(self, task, numbers, size=0):
        """Yields a message of `task(number)` for each number; `size` adds a second argument of that many bytes."""
        sample = self.samples[f"{task} sized" if size else task]
        body = base64.b64decode(sample["body"]).replace(b"BODY", b"x" * size)
        sample = dict(sample, body="<body>", properties=dict(sample["properties"], delivery_tag="<tag>"))
        text = json.dumps(sample)
        for number in numbers:
            arguments = base64.b64encode(body.replace(str(NUMBER).encode(), str(number).encode())).decode()
            yield (
                text.replace("<body>", arguments)
                .replace("<tag>", str(uuid.uuid4()))
                .replace(TASK_ID, str(uuid.uuid4()))
                .replace(str(NUMBER), str(number))
            )


class Broker:
    """Redis with the helpers that a benchmark needs."""

    def __init__(self):
        self.redis = connect()
        self.store = connect(1)
        self.redis_pid = int(os.environ["REDIS_PID"])
        self.messages = Messages()
        self.reads = 0

    def stage(self, name, task, numbers, size=0):
        """Makes messages once for all rounds."""
        if self.store.exists(name):
            return
        batch = []
        for message in self.messages.make(task, numbers, size):
            batch.append(message)
            if len(batch) * (size + 1000) > 4_000_000:
                self.store.lpush(name, *batch)
                batch.clear()
        if batch:
            self.store.lpush(name, *batch)

    def prepare(self, name):
        """Copies the staged messages to the key that `release` renames."""
        self.store.copy(name, "bench:staged", destination_db=0, replace=True)

    def release(self):
        """Moves all staged messages into the queue at once."""
        self.redis.rename("bench:staged", QUEUE)

    @contextlib.contextmanager
    def redis_on(self, chosen):
        """Pins Redis to these processors meanwhile."""
        before = os.sched_getaffinity(self.redis_pid)
        processors.pin(self.redis_pid, chosen)
        try:
            yield
        finally:
            processors.pin(self.redis_pid, before)

    def left(self, queues=(QUEUE,)):
        """Returns the number of waiting messages and of those that workers hold."""
        with self.redis.pipeline(transaction=False) as pipe:
            for queue in queues:
                pipe.llen(queue)
            for key in HELD:
                pipe.hlen(key)
            counts = pipe.execute()
        self.reads += 1
        return sum(counts[: len(queues)]), sum(counts[len(queues) :])

    def queued_ids(self):
        """Returns the number of different ids of the messages in the queue."""
        ids, count = set(), self.redis.llen(QUEUE)
        for start in range(0, count, 500):
            for raw in self.redis.lrange(QUEUE, start, start + 499):
                message = json.loads(raw)
                # Protocol 1 has the id in the body.
                ids.add(message["headers"].get("id") or json.loads(base64.b64decode(message["body"]))["id"])
        return len(ids)

    def calls(self):
        """Returns how often each command was called and how often Redis read from a socket.

        The reads by `left`, which belong to the benchmark, do not count.
        """
        stats = {
            name.removeprefix("cmdstat_"): entry["calls"] for name, entry in self.redis.info("commandstats").items()
        }
        return stats, self.redis.info("stats")["total_reads_processed"] - self.reads
