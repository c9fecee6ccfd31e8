"""``celery.app``: the app, and who the current one is."""

from __future__ import annotations

from umbel.app.celery_app import Celery
from umbel.app.current import app_or_default
from umbel.app.shared import shared_task

__all__ = ["Celery", "app_or_default", "shared_task"]
