"""The memory of a PHP-FPM child that posts a task at each request: P8."""

import tempfile
from pathlib import Path

from harness.measure import Goal, Sample, Table, figure
from harness.systems import Client

OURS = "with the extension, one post a request"
BARE = "without the extension"


def run(bench):
    requests = bench.count(10_000, quick=2_000)
    warm = requests // 10
    table = Table("Memory of a PHP-FPM child, resident", unit="MB")
    growth, private = {}, {}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        (Path(folder) / "celery.ini").write_text(f"extension={bench.target / 'libcelery.so'}\n")
        # An empty part of the path stands for PHP's own folder.
        for name, settings in {OURS: {"PHP_INI_SCAN_DIR": f":{folder}"}, BARE: {}}.items():
            bench.redis.delete("celery")
            client = Client(bench.bare_php("fpm.php"), **settings)
            first = client.order(requests=warm)["resident"]
            answer = client.order(requests=requests - warm)
            last, private[name] = answer["resident"], answer["private"] / 1000
            client.stop()
            posted = bench.redis.llen("celery") if name == OURS else requests
            growth[name] = (last - first) / 1000
            table.add(name, Sample(last / 1000, sent=requests, done=posted))
    (ours,), (bare,) = table.values(OURS), table.values(BARE)
    title = f"P8, over bare PHP after {requests:,} requests"
    table.goals.append(Goal(title, [ours - bare], 3, at_most=True, unit="MB"))
    title = f"P8, growth from {warm:,} to {requests:,} requests"
    table.goals.append(Goal(title, [growth[OURS]], 0.2, at_most=True, unit="MB"))
    table.notes.append(
        f"memory that no other child shares: {figure(private[OURS])} MB, {BARE} {figure(private[BARE])} MB"
    )
    yield table
