"""``celery.contrib.django.task``: tasks that can wait for a commit."""

from __future__ import annotations

from umbel.integrations.django.django_task import DjangoTask

__all__ = ["DjangoTask"]
