"""The tasks `proj.*` in a Python worker that restores the messages of dead workers each second.

By default a message counts as that of a dead worker after an hour, which is too long for a test.
"""

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
