"""Posting 1,000 tasks in one call: PostTasks. Redis has one processor, the clients the other.

The fastest possible is phpredis, which pushes prebuilt bytes in pipelines of 100 and of 1,000. The
extension also has to build each message.
"""

from harness.measure import Table, interleave
from harness.processors import pin, regimes
from harness.systems import Client, posting

from .post import keep_message

BATCH = 1000
BODIES = {"64 B": 64, "1 KiB": 1 << 10}
PIPELINES = [100, 1000]


def run(bench):
    regime = regimes()[-1]
    with bench.redis_on(regime.redis):
        for size, body in BODIES.items():
            yield measure(bench, size, body, regime.client)


def measure(bench, size, body, processors):
    posts = bench.count(50_000, quick=20_000)
    ours = Client(bench.php("post_batch.php"))
    limit = Client(bench.bare_php("lpush.php"))
    keep_message(bench, ours, body, batch=1)
    systems = {f"PostTasks of {BATCH:,}": posting(bench, ours, posts, body=body, batch=BATCH)}
    for batch in PIPELINES:
        systems[f"phpredis pipeline of {batch:,}"] = posting(bench, limit, posts, same_bytes=True, batch=batch)
    clients = [ours, limit]
    if bench.celery_php:
        clients.append(Client(bench.bare_php("post.php")))
        systems["celery-php, one by one"] = posting(bench, clients[-1], posts // 10, body=body)
    for client in clients:
        pin(client.process.pid, processors)
    table = interleave(Table(f"Post in batches, argument of {size}, TCP"), systems, bench.rounds)
    for client in clients:
        client.stop()
    table.note_processor()
    name = f"PostTasks of {BATCH:,}"
    limits = [f"phpredis pipeline of {batch:,}" for batch in PIPELINES]
    table.want_of_best("P2, batch ÷ pipelined lPush of prebuilt bytes", name, limits, 1.0)
    table.want("P2, batch ÷ celery-php", name, "celery-php, one by one", 25)
    return table
