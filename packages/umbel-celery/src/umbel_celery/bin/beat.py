"""``celery.bin.beat``: the command, for programs that call it."""

from __future__ import annotations

from umbel.cli.beat_command import beat

__all__ = ["beat"]
