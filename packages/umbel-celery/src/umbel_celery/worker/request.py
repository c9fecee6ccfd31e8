"""``celery.worker.request``: what receivers of ``task_received`` and ``task_revoked`` get."""

from __future__ import annotations

from umbel.app.context import Context

Request = Context
"""Umbel tells both with the request that the task itself sees."""

__all__ = ["Context", "Request"]
