"""``celery.contrib.django``: tasks in a Django project."""
