"""Bytes to values and back: Celery's and kombu's formats, and nothing else. No I/O, no app."""
