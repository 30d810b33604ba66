"""Posting one task at a time: PostTask over a persistent connection, confirmed and pipelined.

The fastest possible is phpredis pushing the same bytes: one round trip from C, without building a
message. The client shares the processor of Redis, or has the other one to itself.
"""

from harness.measure import Table, interleave
from harness.processors import pin, regimes
from harness.systems import Client, posting

BODIES = {"64 B": 64, "1 KiB": 1 << 10, "64 KiB": 64 << 10}

LIMIT = "phpredis lPush"
PIPELINED = "PostTask, celery.publish=pipelined"
# The wanted ratios to phpredis in each regime, and of pipelined posts, by the size of the body.
SAME = {"64 B": 0.95, "1 KiB": 0.95, "64 KiB": 0.85}
OTHER = {"64 B": 1.5, "1 KiB": 1.5, "64 KiB": 1.0}
WANTED_PIPELINED = {"64 B": 4, "1 KiB": 4, "64 KiB": 1.5}


def run(bench):
    for regime in regimes():
        with bench.redis_on(regime.redis):
            for body in BODIES:
                yield measure(bench, body, regime, "TCP")
            for body in ("64 B", "64 KiB"):
                yield measure(bench, body, regime, "unix socket", BENCH_UNIX="1")


def measure(bench, name, regime, transport, **environment):
    body = BODIES[name]
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
    for client in clients.values():
        pin(client.process.pid, regime.client)
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
    table = interleave(Table(f"Post, argument of {name}, {transport}, {regime.name}"), systems, bench.rounds)
    for client in clients.values():
        client.stop()
    table.note_processor()
    alone = regime.redis != regime.client
    wanted = (OTHER if alone else SAME)[name]
    table.want("P1, PostTask ÷ phpredis lPush of the same bytes", "PostTask", LIMIT, wanted)
    if alone:
        table.want("P1, PostTask ÷ celery-php", "PostTask", "celery-php", 3.5)
        pythons = [name for name in clients if name.startswith("Python")]
        table.want_of_best("P1, PostTask ÷ Python", "PostTask", pythons, 15)
    # On a common processor no process has to be woken, which is most of what pipelining saves.
    if alone or body > 10_000:
        table.want("P1b, pipelined ÷ phpredis lPush", PIPELINED, LIMIT, WANTED_PIPELINED[name])
    else:
        table.note_best("pipelined ÷ phpredis lPush", PIPELINED, [LIMIT])
    return table


def keep_message(bench, client, body, **order):
    """Stores the message that the client posts with a body of this length; lpush.php pushes it."""
    client.order(posts=1, body=body, **order)
    bench.redis.set("bench:message", bench.redis.lpop("celery"))
    bench.redis.delete("celery")
