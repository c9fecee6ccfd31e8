"""Telling whoever put this process in the background that it has begun, or why it has not.

``cli.detaching`` starts a process with one end of a pipe, whose number is in the environment; the
worker or scheduler writes to it once its app is imported and its settings are right. Where nobody
asked, nothing is told.
"""

from __future__ import annotations

import contextlib
import os

READY_VARIABLE = "UMBEL_READY_FD"
"""Number of the descriptor to write to; its presence says: you are in the background already."""
READY = b"ready"


def tell_ready() -> None:
    """Say that it has begun; the second time nobody listens any more."""
    number = os.environ.pop(READY_VARIABLE, None)
    if number is None:
        return
    with contextlib.suppress(OSError, ValueError):  # whoever asked has gone
        os.write(int(number), READY)
        os.close(int(number))
