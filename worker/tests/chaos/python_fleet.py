"""The tasks `proj.*` in a worker that sweeps often, so that a test need not wait for an hour."""

import os

from proj import app

app.conf.broker_transport_options = {
    "visibility_timeout": int(os.environ["VISIBILITY_TIMEOUT"]),
    "unacked_restore_interval": 1,
    "unacked_restore_throttle": 1,
}
app.conf.task_acks_late = True
if prefix := os.environ.get("KEY_PREFIX"):
    app.conf.broker_transport_options["global_keyprefix"] = prefix
    app.conf.result_backend_transport_options = {"global_keyprefix": prefix}
