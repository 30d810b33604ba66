//! Brokers and result backends of Celery: one set of commands and scripts, a blocking and an async driver.
