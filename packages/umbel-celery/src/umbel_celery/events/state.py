"""``celery.events.state``: the fleet as events tell of it."""

from __future__ import annotations

from umbel.monitoring.cluster_state import State, Task, Worker

__all__ = ["State", "Task", "Worker"]
