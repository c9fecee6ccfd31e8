"""What an order to stop one run raises inside it, in the slots that share a process."""

from __future__ import annotations

from umbel.errors import SoftTimeLimitExceeded, TaskInterrupted, Terminated
from umbel.model.assignment import Cancel, Interrupt

SAYS_SOFT = "SIGUSR1"
"""Celery's way to raise SoftTimeLimitExceeded from outside: ``terminate`` with this signal."""


def interruption(order: Cancel) -> TaskInterrupted | None:
    """Return what to raise in a task that runs beside others; None where it is only told."""
    match order.how:
        case Interrupt.SOFT:
            return SoftTimeLimitExceeded(order.reason)
        case Interrupt.TERMINATE if order.reason == SAYS_SOFT:
            return SoftTimeLimitExceeded("terminated")
        case Interrupt.TERMINATE:
            return Terminated(order.reason)
        case _:
            return None


def cancelled_because(order: Cancel) -> str:
    """Return the reason that ``request.cancelled`` tells."""
    match order.how:
        case Interrupt.SOFT:
            return "soft time limit"
        case Interrupt.TERMINATE:
            return "terminated"
        case _:
            return order.reason
