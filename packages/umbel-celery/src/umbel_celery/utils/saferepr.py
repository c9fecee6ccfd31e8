"""``celery.utils.saferepr``: any value as text of bounded length, without running its ``repr``."""

from __future__ import annotations

from typing import Any

from umbel.wire.reprs import safe_repr


def saferepr(o: Any, maxlen: int | None = None, maxlevels: int = 3, seen: Any = None) -> str:  # noqa: ARG001 - Celery's signature
    """Return a value as text, at most ``maxlen`` characters and ``maxlevels`` deep."""
    return safe_repr(o, maxlen or 1 << 30, maxlevels)


__all__ = ["saferepr"]
