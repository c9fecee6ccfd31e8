"""Sending a signal to the executor itself, in the name of who terminates its task.

Used by ``slots.single`` only, on the main thread. Executors let signals pass that reach the whole
group of the worker's processes (Control-C, a service manager's SIGTERM): for those the supervisor
decides. One that is meant for the task comes as an order instead, and is raised here.
"""

from __future__ import annotations

import logging
import signal

OWN_HANDLERS = "umbel.worker.template"
"""The module of the handlers that every executor begins with."""

logger = logging.getLogger("umbel.worker")


def raise_in_this_process(name: str) -> None:
    """Raise the signal of this name here, with its usual effect.

    A handler that the task has installed is called; where there is none but the executor's own,
    the system's default holds: SIGTERM ends the process, SIGINT raises KeyboardInterrupt. A name
    that this system does not have is taken for SIGTERM.
    """
    number = getattr(signal, name, None)
    if not isinstance(number, signal.Signals):
        logger.warning("There is no signal %r here; the task gets SIGTERM", name)
        number = signal.SIGTERM
    handler = signal.getsignal(number)
    ours = callable(handler) and getattr(handler, "__module__", "") == OWN_HANDLERS
    if not ours:
        signal.raise_signal(number)
        return
    usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    signal.signal(number, usual)
    try:
        signal.raise_signal(number)
    finally:
        signal.signal(number, handler)  # the task may have caught what it raised
