"""``celery.bin.purge``: the command, for programs that call it."""

from __future__ import annotations

from umbel.cli.queue_commands import purge

__all__ = ["purge"]
