"""``celery.app.base``: the class of the app."""

from __future__ import annotations

from umbel.app.celery_app import Celery
from umbel.app.celery_app import Celery as App

__all__ = ["App", "Celery"]
