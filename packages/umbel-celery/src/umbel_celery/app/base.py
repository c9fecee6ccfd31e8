"""``celery.app.base``: the class of the app."""

from __future__ import annotations

from umbel.app.celery_app import Celery
from umbel.app.celery_app import Celery as App
from umbel.config.conf import Conf as Settings


class PendingConfiguration:
    """Celery's settings before they are read, for ``isinstance``: Umbel's are never of it.

    ``app.conf`` reads its source by itself, at the first use of a setting.
    """


__all__ = ["App", "Celery", "PendingConfiguration", "Settings"]
