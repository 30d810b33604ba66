"""Posting to RabbitMQ: one at a time, pipelined, and in batches, all confirmed by the broker.

The fastest possible from PHP is ext-amqp, which publishes the same message from C. It is
left out if Debian's `php-amqp` is not installed; PHP_AMQP may name the file of the extension. Nothing
is pinned: RabbitMQ uses all processors.
"""

import os
import subprocess

import amqp
from harness.measure import Sample, Table, interleave
from harness.systems import Client

BATCH = 1000
BODY = 64
EXT = "ext-amqp"
QUEUES = {"classic": {}, "quorum": {"x-queue-type": "quorum"}}


def run(bench):
    ext = ext_amqp(bench)
    if ext is None:
        bench.say("ext-amqp is left out: PHP has no extension amqp, and PHP_AMQP names none")
    with amqp.Connection(f"127.0.0.1:{os.environ['AMQP_PORT']}") as connection:
        channel = connection.channel()
        for kind, arguments in QUEUES.items():
            channel.queue_declare("bench", durable=True, auto_delete=False, arguments=arguments)
            yield single(bench, channel, kind, ext)
            yield batches(bench, channel, kind, ext)
            channel.queue_delete("bench")


def ext_amqp(bench):
    """Returns the command of PHP with ext-amqp, or None without it."""
    command = bench.bare_php("rabbitmq_ext.php")
    if file := os.environ.get("PHP_AMQP"):
        return [command[0], "-d", f"extension={file}", *command[1:]]
    loaded = subprocess.check_output([command[0], "-m"], text=True).split()
    return command if "amqp" in loaded else None


def same_message(channel, ext, client):
    """Starts ext-amqp with the message that `client` posts."""
    channel.queue_purge("bench")
    client.order(posts=1, body=BODY, batch=0)
    return Client(ext)


def posting(channel, client, posts, batch=0):
    """Returns a function for `interleave` that measures how many posts a client makes in a second,
    into an empty queue.
    """

    def measure():
        channel.queue_purge("bench")
        answer = client.order(posts=posts, body=BODY, batch=batch)
        count = channel.queue_purge("bench")
        return Sample(posts / answer["seconds"], posts, min(count, posts), max(count - posts, 0), answer["processor"])

    return measure


def single(bench, channel, kind, ext):
    posts = bench.count(5_000, quick=1_000)
    clients = {
        "PostTask": Client(bench.php("rabbitmq.php")),
        "PostTask, celery.publish=pipelined": Client(bench.php("rabbitmq.php", "-d", "celery.publish=pipelined")),
        "Python send_task": Client(bench.python("rabbitmq.py")),
    }
    if ext:
        clients[EXT] = same_message(channel, ext, clients["PostTask"])
    systems = {name: posting(channel, client, posts) for name, client in clients.items()}
    table = interleave(Table(f"Post to RabbitMQ, confirmed, {kind} queue"), systems, bench.rounds)
    for client in clients.values():
        client.stop()
    table.note_processor()
    table.want("Q1, confirmed post ÷ ext-amqp", "PostTask", EXT, 0.95)
    table.want("Q1, confirmed post ÷ Python send_task", "PostTask", "Python send_task", 1.5)
    table.want("Q2, pipelined ÷ ext-amqp one at a time", "PostTask, celery.publish=pipelined", EXT, 4)
    return table


def batches(bench, channel, kind, ext):
    posts = bench.count(20_000, quick=5_000)
    name = f"PostTasks of {BATCH:,}"
    clients = {name: Client(bench.php("rabbitmq.php"))}
    if ext:
        clients[EXT] = same_message(channel, ext, clients[name])
    systems = {name: posting(channel, client, posts, BATCH) for name, client in clients.items()}
    table = interleave(Table(f"Post to RabbitMQ in batches, {kind} queue"), systems, bench.rounds)
    for client in clients.values():
        client.stop()
    table.note_processor()
    table.want("Q3, batch ÷ ext-amqp, its confirms awaited once a batch", name, EXT, 0.9)
    return table
