//! A library to write Celery workers with, and the worker `celery-worker`.
