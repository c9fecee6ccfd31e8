"""``celery.events.snapshot``: pictures of the fleet, taken now and then."""

from __future__ import annotations

from umbel.monitoring.snapshot import Polaroid

__all__ = ["Polaroid"]
