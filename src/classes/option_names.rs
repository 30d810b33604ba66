//! The names of the options that a route may set: those of the parameters, and Celery's.

/// The parameters' names and Celery's.
const NAMES: [(&str, &str); 14] = [
    ("queue", "queue"),
    ("exchange", "exchange"),
    ("routingKey", "routing_key"),
    ("priority", "priority"),
    ("serializer", "serializer"),
    ("compression", "compression"),
    ("headers", "headers"),
    ("shadow", "shadow"),
    ("replyTo", "reply_to"),
    ("ignoreResult", "ignore_result"),
    ("timeLimit", "time_limit"),
    ("softTimeLimit", "soft_time_limit"),
    ("persistent", "delivery_mode"),
    ("protocol", "task_protocol"),
];

/// Returns Celery's name of an option, under either name.
pub(crate) fn of(name: &str) -> Option<&'static str> {
    let mut names = NAMES.into_iter();
    names
        .find(|(own, celery)| *own == name || *celery == name)
        .map(|(_, celery)| celery)
}
