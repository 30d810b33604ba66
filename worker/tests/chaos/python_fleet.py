"""The tasks `proj.*` in a Python worker that restores the messages of dead workers each second.

By default a message counts as that of a dead worker after an hour, which is too long for a test.
"""

import os

from kombu import Exchange, Queue
from proj import app

queue_type = os.environ.get("QUEUE_TYPE")
if queue_type:
    # A queue must be declared as it was declared first.
    arguments = {"x-queue-type": "quorum"} if queue_type == "quorum" else {}
    app.conf.task_queues = [Queue("play", Exchange("play"), "play", queue_arguments=arguments)]
    app.conf.worker_detect_quorum_queues = True
else:
    app.conf.broker_transport_options = {
        "visibility_timeout": int(os.environ["VISIBILITY_TIMEOUT"]),
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
    }
app.conf.task_acks_late = True
if prefix := os.environ.get("KEY_PREFIX"):
    app.conf.broker_transport_options["global_keyprefix"] = prefix
    app.conf.result_backend_transport_options = {"global_keyprefix": prefix}
if master := os.environ.get("MASTER_NAME"):
    app.conf.broker_transport_options["master_name"] = master
    app.conf.result_backend_transport_options = {"master_name": master}
