"""The app under the name that programs written for Celery use, with Celery's defaults.

Re-exported by the ``umbel-celery`` distribution; nothing else imports it.
"""

from __future__ import annotations

from umbel.app import current
from umbel.app.app import App


class Celery(App):
    """An app of the profile ``celery``: every default is that of Celery 5.7."""

    default_profile = "celery"


def _default_app() -> App:
    """Make the app of a program that uses one without having made one, as Celery does."""
    return Celery(
        "default", config_source="celeryconfig", config_source_silent=True, set_as_current=False
    )


current.set_default_factory(_default_app)
"""Importing this module means that the program was written for Celery."""
