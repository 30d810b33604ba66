"""The processor instructions of a post, counted by callgrind.

The counts hardly depend on the machine or on its load. Each client runs twice; the difference of
the two runs leaves out its start.
"""

import json
import re
import shutil
import subprocess

from harness.measure import Goal, Sample, Table

from .post import BODIES

# The posts of the two runs of a client.
FEW, MANY = 1_000, 3_000
BATCH = 1_000
WANTED = {"PostTask, 64 B": 10_000, "PostTask, 64 KiB": 250_000, f"PostTasks of {BATCH:,}, 64 B": 8_000}


def run(bench):
    if not shutil.which("valgrind"):
        bench.say("valgrind is not installed: `apt install valgrind`, then repeat this row")
        yield Table("Instructions of a post", unit="instructions")
        return
    table = Table("Instructions of a post, in the client", unit="instructions")
    bench.redis.delete("celery")
    for size, body in BODIES.items():
        # 64 KiB need fewer posts: each has half a million instructions.
        scale = 10 if body > 10_000 else 1
        table.add(f"PostTask, {size}", measure(bench.php("post.php"), scale, body=body))
        bench.redis.set("bench:message", bench.redis.lpop("celery"))
        bench.redis.delete("celery")
        if scale == 1:
            batch = measure(bench.php("post_batch.php"), scale, body=body, batch=BATCH)
            table.add(f"PostTasks of {BATCH:,}, {size}", batch)
        table.add(f"phpredis lPush, {size}", measure(bench.bare_php("lpush.php"), scale, batch=0))
        bench.redis.delete("celery")
    for system, wanted in WANTED.items():
        title = f"P1, instructions of {system}"
        table.goals.append(Goal(title, table.values(system), wanted, at_most=True, unit=""))
    yield table


def measure(command, scale, **order):
    few, many = (count(command, posts=posts // scale, **order) for posts in (FEW, MANY))
    return Sample((many - few) * scale / (MANY - FEW))


def count(command, **order):
    """Returns the instructions of a client that gets one order and ends."""
    valgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    done = subprocess.run(
        [*valgrind, *map(str, command)],
        input=json.dumps(order) + "\n",
        capture_output=True,
        text=True,
        check=True,
    )
    return int(re.search(r"Collected : (\d+)", done.stderr)[1])
