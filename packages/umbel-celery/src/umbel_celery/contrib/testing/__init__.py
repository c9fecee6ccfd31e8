"""``celery.contrib.testing``: apps and workers inside a test's own process."""
