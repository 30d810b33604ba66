//! The PHP extension `celery`: a native Celery client.
