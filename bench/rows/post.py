"""Posting one task at a time: PostTask over a persistent connection, confirmed and pipelined.

The fastest possible is phpredis pushing the same bytes: one round trip from C, without building a
message.
"""

from harness.measure import Table, interleave
from harness.systems import Client, posting

BODIES = {"64 B": 64, "1 KiB": 1 << 10, "64 KiB": 64 << 10}

LIMIT = "phpredis lPush"
PIPELINED = "PostTask, celery.publish=pipelined"


def run(bench):
    for name, body in BODIES.items():
        yield measure(bench, f"Post, argument of {name}, TCP", body)
    yield measure(bench, "Post, argument of 64 B, unix socket", 64, BENCH_UNIX="1")


def measure(bench, title, body, **environment):
    posts = bench.count(10_000 if body < 10_000 else 1_000, quick=3_000 if body < 10_000 else 300)
    few = max(posts // 10, 30)
    clients = {
        "PostTask": Client(bench.php("post.php"), **environment),
        PIPELINED: Client(bench.php("post.php", "-d", "celery.publish=pipelined"), **environment),
        LIMIT: Client(bench.bare_php("lpush.php"), **environment),
    }
    if not environment:
        # celery-php knows no unix sockets, and they do not make Python faster.
        if bench.celery_php:
            clients["celery-php"] = Client(bench.bare_php("post.php"))
        clients["Python send_task"] = Client(bench.python("post.py"))
        clients["Python send_task, no result backend"] = Client(bench.python("post.py"), BENCH_RESULTS="0")
    keep_message(bench, clients["PostTask"], body)
    systems = {
        name: posting(
            bench,
            client,
            few if name.startswith("Python") else posts,
            same_bytes=name == LIMIT,
            body=body,
            batch=0,
        )
        for name, client in clients.items()
    }
    table = interleave(Table(title), systems, bench.rounds)
    for client in clients.values():
        client.stop()
    table.note_processor()
    pythons = [name for name in clients if name.startswith("Python")]
    table.want("P1, PostTask ÷ phpredis lPush of the same bytes", "PostTask", LIMIT, 1.0)
    table.want("P1, PostTask ÷ celery-php", "PostTask", "celery-php", 3)
    table.want_of_best("P1, PostTask ÷ Python", "PostTask", pythons, 20)
    table.want("P1b, pipelined ÷ phpredis lPush", PIPELINED, LIMIT, 4)
    return table


def keep_message(bench, client, body, **order):
    """Stores the message that the client posts with a body of this length; lpush.php pushes it."""
    client.order(posts=1, body=body, **order)
    bench.redis.set("bench:message", bench.redis.lpop("celery"))
    bench.redis.delete("celery")
