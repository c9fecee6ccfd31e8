"""Properties are about values, not about how busy the machine is: no deadline for an example."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("umbel", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("umbel")
