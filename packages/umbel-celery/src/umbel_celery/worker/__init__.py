"""``celery.worker``: what a program may know of a run from outside the task."""
