"""Posts tasks of several priorities and prints their results as JSON."""

import json

from client import WAIT, send

results = [send("proj.add", priority, 0, priority=priority) for priority in (0, 2, 5, 9)]
print(json.dumps([result.get(timeout=WAIT) for result in results]))
