"""``celery.bin.events``: the command, for programs that call it."""

from __future__ import annotations

from umbel.cli.events_command import events

__all__ = ["events"]
