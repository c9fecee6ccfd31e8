"""The signals that end a worker. Called once, by ``wiring``, on the main thread."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from itertools import count
from types import FrameType


def end_on_signals(ask_to_stop: Callable[[bool, str], None]) -> None:
    """Take SIGTERM and SIGINT as warm, SIGQUIT as cold; twice is cold, three times is at once.

    ``ask_to_stop`` is given whether it is cold, and the signal's name. Celery's
    ``REMAP_SIGTERM=SIGQUIT`` in the environment makes SIGTERM cold. At once means that this process
    ends with status 1 and its executors with it; what they ran is rescued when the lease ends.
    """
    term_is_cold = os.environ.get("REMAP_SIGTERM") == "SIGQUIT"
    signals = count(1)

    def asked(number: int, _frame: FrameType | None) -> None:
        if next(signals) > 2:
            os.write(2, b"Asked a third time: ending at once\n")
            os._exit(1)
        name = signal.Signals(number).name
        ask_to_stop(name == "SIGQUIT" or (name == "SIGTERM" and term_is_cold), name)

    for name in ("SIGTERM", "SIGINT", "SIGQUIT"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), asked)
