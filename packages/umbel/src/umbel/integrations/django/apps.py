"""The Django app: ``INSTALLED_APPS = [..., "umbel.integrations.django"]``."""

from __future__ import annotations

from django.apps import AppConfig


class UmbelConfig(AppConfig):
    """Adds ``manage.py umbel``. It has no models."""

    name = "umbel.integrations.django"
    label = "umbel"
    verbose_name = "Umbel"
