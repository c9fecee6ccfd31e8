"""``celery.contrib``: tools for tests, tasks that can be aborted."""
