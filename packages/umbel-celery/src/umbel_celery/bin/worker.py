"""``celery.bin.worker``: the command, for programs that call it."""

from __future__ import annotations

from umbel.cli.work_command import worker

__all__ = ["worker"]
