"""Posting 1,000 tasks in one call: PostTasks.

The fastest possible is phpredis, which pushes prebuilt bytes in pipelines of 100 and of 1,000. The
extension also has to build each message.
"""

from harness.measure import Table, interleave
from harness.systems import Client, posting

from .post import keep_message

BATCH = 1000
BODY = 64
PIPELINES = [100, 1000]


def run(bench):
    posts = bench.count(50_000, quick=20_000)
    ours = Client(bench.php("post_batch.php"))
    limit = Client(bench.bare_php("lpush.php"))
    keep_message(bench, ours, BODY, batch=1)
    systems = {f"PostTasks of {BATCH:,}": posting(bench, ours, posts, body=BODY, batch=BATCH)}
    for batch in PIPELINES:
        systems[f"phpredis pipeline of {batch:,}"] = posting(bench, limit, posts, same_bytes=True, batch=batch)
    clients = [ours, limit]
    if bench.celery_php:
        clients.append(Client(bench.bare_php("post.php")))
        systems["celery-php, one by one"] = posting(bench, clients[-1], posts // 10, body=BODY)
    table = interleave(Table("Post in batches, argument of 64 B, TCP"), systems, bench.rounds)
    for client in clients:
        client.stop()
    table.note_processor()
    name = f"PostTasks of {BATCH:,}"
    limits = [f"phpredis pipeline of {batch:,}" for batch in PIPELINES]
    table.want_of_best("P2, batch ÷ pipelined lPush of prebuilt bytes", name, limits, 1.0)
    table.want("P2, batch ÷ celery-php", name, "celery-php, one by one", 25)
    yield table
