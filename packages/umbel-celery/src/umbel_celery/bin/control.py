"""``celery.bin.control``: the commands, for programs that call them."""

from __future__ import annotations

from umbel.cli.fleet_commands import status
from umbel.cli.remote_commands import control, inspect

__all__ = ["control", "inspect", "status"]
