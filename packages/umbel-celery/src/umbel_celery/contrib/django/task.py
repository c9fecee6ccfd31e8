"""``celery.contrib.django.task``: tasks that can wait for a commit, as every task here can."""

from __future__ import annotations

from umbel.app.task import Task as DjangoTask

__all__ = ["DjangoTask"]
