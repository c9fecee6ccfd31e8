"""``celery.backends``: the classes that result backends of other packages subclass."""
