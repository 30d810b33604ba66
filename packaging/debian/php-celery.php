mod celery.so
mod celery.ini
