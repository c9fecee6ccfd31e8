"""What callers put down while another one publishes, and how they learn what became of it.

Used by ``publishing``, which alone decides who sends what.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from umbel.model.queues import Outgoing

if TYPE_CHECKING:
    import asyncio


class Ticket:
    """What one caller put down while another was publishing."""

    __slots__ = ("batch", "deadline", "done", "error", "lock", "outgoing", "waker")

    def __init__(
        self,
        outgoing: Sequence[Outgoing],
        deadline: float,
        waker: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]] | None = None,
    ) -> None:
        self.outgoing = outgoing
        self.deadline = deadline
        self.waker = waker
        self.done = False
        self.error: BaseException | None = None
        self.batch: list[Ticket] | None = None
        # Held while the owner waits; let go once, when the ticket is done or is to lead a batch.
        self.lock = threading.Lock() if waker is None else None
        if self.lock is not None:
            self.lock.acquire()

    def wake(self) -> None:
        """End the owner's wait."""
        if self.lock is not None:
            self.lock.release()


def complete(tickets: Iterable[Ticket]) -> None:
    """Finish the futures of one loop, on that loop."""
    for ticket in tickets:
        assert ticket.waker is not None
        future = ticket.waker[1]
        if future.done():
            continue  # cancelled, or its deadline passed
        if ticket.error is None:
            future.set_result(None)
        else:
            future.set_exception(ticket.error)


def named(outgoing: Sequence[Outgoing]) -> str:
    """Name what is being sent, for an error: one message by task and id, several by number."""
    if len(outgoing) == 1:
        headers = outgoing[0].message.headers
        return f"task {headers.get('task')}[{headers.get('id')}]"
    return f"a batch of {len(outgoing)} messages"
