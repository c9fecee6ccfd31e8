"""``celery.fixups``: what an app does for the framework that it finds itself in."""
