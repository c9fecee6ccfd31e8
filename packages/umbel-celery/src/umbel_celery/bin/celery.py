"""``celery.bin.celery``: the command as programs start it themselves."""

from __future__ import annotations

from umbel_celery.__main__ import main

__all__ = ["main"]
