//! Names the log lines about the life of the process, such as "ready" and "Warm shutdown".

/// The target of the log lines about the life of the process. They are written at every log level:
/// supervisors and tests wait for them.
pub(crate) const ALWAYS: &str = "celery_worker::lifecycle";
