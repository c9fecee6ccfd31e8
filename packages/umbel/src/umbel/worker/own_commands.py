"""An app's own commands of remote control, carried out where user code may run.

Called by ``template``, and by ``wiring`` for a solo worker. Nothing that a command does or raises
ends the worker; only what it takes from the time of its process is felt.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from umbel.control.custom_commands import REGISTRY
from umbel.worker.announcing import WorkerFace
from umbel.worker.facts import plain

logger = logging.getLogger("umbel.worker")


def carry_out(face: WorkerFace, name: str, arguments: Mapping[str, Any]) -> Any:
    """Call the command of this name; return its answer as plain values."""
    command = REGISTRY.get(name)
    if command is None:
        return {"error": repr(KeyError(name))}
    try:
        return plain(command.handler(face, **arguments))
    except Exception as error:
        logger.exception("The command %s failed", name)
        return {"error": repr(error)}
