"""``celery.utils.iso8601``: moments from text."""

from __future__ import annotations

from datetime import datetime


def parse_iso8601(datestring: str) -> datetime:
    """Return the moment that ISO 8601 text means. Raises ValueError."""
    return datetime.fromisoformat(datestring)


__all__ = ["parse_iso8601"]
