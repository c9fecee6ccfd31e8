"""``celery.utils.sysinfo``: how busy the machine is."""

from __future__ import annotations

import os


def load_average() -> tuple[float, ...]:
    """Return the load of the last 1, 5 and 15 minutes; zeros where the system does not tell."""
    try:
        return tuple(round(each, 2) for each in os.getloadavg())
    except (OSError, AttributeError):
        return (0.0, 0.0, 0.0)


__all__ = ["load_average"]
