"""Stands in for pydantic, which the tasks of Celery's suite import and the older workers lack.

No canvas calls the tasks that need it.
"""


class BaseModel:
    pass
