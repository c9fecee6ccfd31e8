"""Handing messages to the broker: from any thread, within one deadline, in few round trips.

Called by ``sending``, ``bulk`` and the eager parts of the app; nobody else opens a publisher. It
knows nothing of tasks: what it gets is encoded and routed.

Who publishes. The first thread to come does it itself, on its own time: no hop, no queue. Those who
come while it is busy put their messages down; when it is done, one of them takes everything that
lies there and sends it as one batch, for all. So one connection serves the process and a crowd of
threads costs few round trips. Coroutines never block their loop: their batches are sent by a
background thread that exists only where ``apublish`` was called.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import TYPE_CHECKING

from umbel.app.publish_policy import RetryPolicy
from umbel.app.publish_tickets import Ticket, complete, named
from umbel.errors import BrokerUnavailable, OperationalError, OutcomeUnknown
from umbel.model.queues import Outgoing
from umbel.ports import Broker, Publisher

if TYPE_CHECKING:
    import asyncio

_BATCH = 1000
"""Messages of several callers that go out together at most; one caller's own are never split."""


_living: weakref.WeakSet[Publishing] = weakref.WeakSet()
_inherited: list[Publisher] = []
"""Publishers of the parent process: kept, so that no finaliser speaks on the parent's socket."""


class Publishing:
    """One process's way to one broker. Thread-safe; works on in a forked child.

    ``timeout`` is the total time in seconds for connecting, sending, confirming and all retries
    of one call.
    """

    def __init__(
        self, broker: Broker, *, timeout: float = 5.0, policy: RetryPolicy | None = None
    ) -> None:
        self._broker = broker
        self._timeout = timeout
        self._policy = policy or RetryPolicy()
        self._reset()
        _living.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._busy = False
        self._closing = False
        self._waiting: deque[Ticket] = deque()
        self._publisher: Publisher | None = None
        self._background: SimpleQueue[list[Ticket] | None] | None = None

    # --- what callers use -------------------------------------------------------------------------

    def publish(
        self,
        outgoing: Sequence[Outgoing],
        *,
        timeout: float | None = None,
        policy: RetryPolicy | None = None,
    ) -> None:
        """Return once the broker holds every message. Any thread may call it.

        Failures are repeated as the policy says, but never past the deadline: ``timeout`` seconds
        from now, or the default. A repeated message keeps its id, so that a duplicate is told
        from a new one. Raises BrokerUnavailable (nothing was sent), OutcomeUnknown (something may
        have arrived in one of the tries), Unroutable.
        """
        deadline = time.monotonic() + (self._timeout if timeout is None else timeout)
        failures: list[BaseException] = []
        while True:
            try:
                self._publish_once(outgoing, deadline)
            except OperationalError as error:
                failures.append(error)
                pause = self._next_pause(failures, policy, deadline)
                if pause > 0:
                    time.sleep(pause)
            else:
                return

    async def apublish(
        self,
        outgoing: Sequence[Outgoing],
        *,
        timeout: float | None = None,
        policy: RetryPolicy | None = None,
    ) -> None:
        """Do what ``publish`` does, without blocking the event loop.

        Calls that overlap share round trips. Cancelling it does not take back what is already on
        its way.
        """
        deadline = time.monotonic() + (self._timeout if timeout is None else timeout)
        failures: list[BaseException] = []
        while True:
            try:
                await self._apublish_once(outgoing, deadline)
            except OperationalError as error:
                failures.append(error)
                pause = self._next_pause(failures, policy, deadline)
                if pause > 0:
                    import asyncio  # noqa: PLC0415 - as in _apublish_once

                    await asyncio.sleep(pause)
            else:
                return

    def close(self) -> None:
        """Let go of the connection and the background thread. Using it again opens new ones."""
        publisher: Publisher | None = None
        with self._lock:
            background, self._background = self._background, None
            if self._busy:
                self._closing = True  # whoever publishes now closes it afterwards
            else:
                publisher, self._publisher = self._publisher, None
        if background is not None:
            background.put(None)
        if publisher is not None:
            publisher.close()

    # --- one try ----------------------------------------------------------------------------------

    def _publish_once(self, outgoing: Sequence[Outgoing], deadline: float) -> None:
        with self._lock:
            if self._busy:
                ticket = Ticket(outgoing, deadline)
                self._waiting.append(ticket)
            else:
                self._busy = True
                ticket = None
        if ticket is not None:
            self._wait_turn(ticket)
            return
        try:
            self._send(outgoing, deadline)
        finally:
            self._hand_over()

    def _wait_turn(self, ticket: Ticket) -> None:
        """Wait until somebody has sent this ticket, or send it and what lies beside it."""
        assert ticket.lock is not None
        try:
            in_time = ticket.lock.acquire(timeout=max(0.0, ticket.deadline - time.monotonic()))
        except BaseException:  # an interrupt, or a green thread being killed
            self._leave(ticket)
            raise
        if not in_time:
            self._give_up(ticket)
        if ticket.batch is not None:
            self._lead(ticket.batch)
        if ticket.error is not None:
            raise ticket.error

    def _give_up(self, ticket: Ticket) -> None:
        """The deadline passed while another thread was publishing. Raises unless it just ended."""
        with self._lock:
            if ticket.done or ticket.batch is not None:
                return
            try:
                self._waiting.remove(ticket)
            except ValueError:
                text = (
                    f"{named(ticket.outgoing)} was being sent together with other messages when "
                    "the deadline passed: it may or may not have arrived"
                )
                raise OutcomeUnknown(text) from None
        raise BrokerUnavailable(
            f"{named(ticket.outgoing)} was not sent: the connection to the broker was busy with "
            "earlier messages until the deadline passed"
        )

    def _leave(self, ticket: Ticket) -> None:
        """Take back a ticket whose owner stopped waiting, if nobody is sending it yet."""
        with self._lock:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
        if ticket.batch is not None and not ticket.done:
            self._lead(ticket.batch)  # the turn was already ours, and others depend on it

    async def _apublish_once(self, outgoing: Sequence[Outgoing], deadline: float) -> None:
        import asyncio  # noqa: PLC0415 - a fifth of the import time of programs without coroutines

        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        ticket = Ticket(outgoing, deadline, (loop, future))
        batch: list[Ticket] | None = None
        with self._lock:
            self._waiting.append(ticket)
            if not self._busy:
                self._busy = True
                batch = self._take_batch()
            if batch is not None:
                self._to_background(batch)
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic()) + 0.05):
                await future
        except TimeoutError:
            self._give_up(ticket)
            if ticket.error is not None:
                raise ticket.error from None
        except asyncio.CancelledError:
            self._leave(ticket)
            raise

    # --- leading a batch --------------------------------------------------------------------------

    def _take_batch(self) -> list[Ticket] | None:
        """Take what waits, up to a bound. The caller holds the lock and is to publish it."""
        batch: list[Ticket] = []
        size = 0
        while self._waiting and (not batch or size + len(self._waiting[0].outgoing) <= _BATCH):
            ticket = self._waiting.popleft()
            size += len(ticket.outgoing)
            batch.append(ticket)
        return batch or None

    def _hand_over(self) -> None:
        """End this thread's turn; the next batch, if any, goes to one of its owners."""
        closed: Publisher | None = None
        with self._lock:
            if self._closing:
                self._closing = False
                closed, self._publisher = self._publisher, None
            batch = self._take_batch()
            if batch is None:
                self._busy = False
            else:
                leader = next((one for one in batch if one.lock is not None), None)
                if leader is None:
                    self._to_background(batch)
                else:
                    leader.batch = batch
                    leader.wake()
        if closed is not None:
            closed.close()

    def _lead(self, batch: list[Ticket]) -> None:
        """Publish for everybody in the batch, tell them, and hand over. Never raises for others."""
        try:
            self._send_batch(batch)
        except BaseException:  # this thread is being stopped in the middle
            for ticket in batch:
                ticket.error = OutcomeUnknown(
                    f"{named(ticket.outgoing)} was being sent by another thread when that thread "
                    "was stopped: it may or may not have arrived"
                )
            raise
        finally:
            self._tell(batch)
            self._hand_over()

    def _send_batch(self, batch: list[Ticket]) -> None:
        everything = [one for ticket in batch for one in ticket.outgoing]
        deadline = max(ticket.deadline for ticket in batch)
        try:
            self._send(everything, deadline)
        except (BrokerUnavailable, OutcomeUnknown) as error:
            for ticket in batch:
                # Each caller raises its own exception object: one shared by several threads would
                # collect all their tracebacks.
                ticket.error = type(error)(*error.args)
                ticket.error.__cause__ = error.__cause__
        except Exception as error:  # noqa: BLE001 - goes to the caller whose message it is
            self._send_one_by_one(batch, error)

    def _send_one_by_one(self, batch: list[Ticket], error: Exception) -> None:
        """Find whose message was refused, so that nobody pays for another's mistake."""
        if len(batch) == 1:
            batch[0].error = error
            return
        for ticket in batch:
            try:
                self._send(ticket.outgoing, ticket.deadline)
            except Exception as own:  # noqa: BLE001 - raised again in the thread that owns it
                ticket.error = own

    def _tell(self, batch: list[Ticket]) -> None:
        loops: dict[asyncio.AbstractEventLoop, list[Ticket]] = {}
        for ticket in batch:
            if ticket.waker is not None:
                loops.setdefault(ticket.waker[0], []).append(ticket)
            with self._lock:
                ticket.done = True
                if ticket.batch is None:
                    ticket.wake()
        for loop, tickets in loops.items():
            try:
                loop.call_soon_threadsafe(complete, tickets)
            except RuntimeError:
                continue  # that loop was closed: nobody is waiting there any more

    def _send(self, outgoing: Sequence[Outgoing], deadline: float) -> None:
        """Publish, as the only thread that does so now."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise BrokerUnavailable(
                f"{named(outgoing)} was not sent: no time was left before the deadline"
            )
        publisher = self._publisher
        if publisher is None:
            publisher = self._publisher = self._broker.open_publisher()
        publisher.publish(outgoing, timeout=left)

    # --- retries ----------------------------------------------------------------------------------

    def _next_pause(
        self, failures: list[BaseException], policy: RetryPolicy | None, deadline: float
    ) -> float:
        """Return how long to wait before the next try, or raise because there is none."""
        policy = policy or self._policy
        error = failures[-1]
        pause = policy.pause(len(failures))
        if policy.allows(len(failures), error) and time.monotonic() + pause < deadline:
            return pause
        unknown = next((one for one in failures if isinstance(one, OutcomeUnknown)), None)
        # A try that may have arrived is not undone by a later one that certainly did not.
        raise unknown if unknown is not None else error

    # --- the background thread, for coroutines ----------------------------------------------------

    def _to_background(self, batch: list[Ticket]) -> None:
        """Have the background thread lead this batch. The caller holds the lock."""
        if self._background is None:
            self._background = SimpleQueue()
            threading.Thread(
                target=_serve,
                args=(self._background, self._lead),
                name="umbel-publish",
                daemon=True,
            ).start()
        self._background.put(batch)


def _serve(batches: SimpleQueue[list[Ticket] | None], lead: Callable[[list[Ticket]], None]) -> None:
    while (batch := batches.get()) is not None:
        lead(batch)


def _in_child() -> None:
    for publishing in list(_living):
        if publishing._publisher is not None:
            _inherited.append(publishing._publisher)
        publishing._reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
