"""``celery.bin``: the command line."""
