"""``celery.utils.dispatch.signal``: the class of signals."""

from __future__ import annotations

from umbel.app.signals import Signal

__all__ = ["Signal"]
