"""``celery.utils.dispatch``: the class of signals, to make some of one's own."""

from __future__ import annotations

from .signal import Signal

__all__ = ["Signal"]
