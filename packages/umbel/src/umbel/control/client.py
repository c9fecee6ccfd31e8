"""A caller's side of remote control: say something to workers, gather what they answer.

Used by ``app.control``. Who waits stops as soon as everybody who is known to be listening and is
meant has answered; the timeout is for those who do not answer.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from umbel.clock import LogicalClock
from umbel.config.bus_names import BusNames
from umbel.errors import UsageError, WireError
from umbel.model.bus import Notice
from umbel.ports import Bus, Line, Serializer
from umbel.wire import pidbox
from umbel.wire.pidbox import Command

PATIENCE = 5.0
"""Seconds the broker may take to take the command."""

Replies = list[dict[str, Any]]


class ControlClient:
    """Speaks to the workers on one bus. Any thread: each question has a line of its own."""

    def __init__(
        self,
        bus: Bus,
        names: BusNames,
        *,
        serializer: Serializer,
        accept: frozenset[str],
        known: Callable[[], Iterable[str]],
    ) -> None:
        """``known``: the names of the workers whose lease is alive, as the broker tells."""
        self._bus = bus
        self._names = names
        self._serializer = serializer
        self._accept = accept
        self._known = known
        self._clock = LogicalClock()

    def tell(self, command: Command) -> None:
        """Say it, and wait for nobody. Raises OperationalError."""
        line = self._bus.open_line()
        try:
            self._send(line, command, 0)
        finally:
            line.close()

    def ask(
        self,
        command: Command,
        *,
        timeout: float,
        limit: int | None = None,
        callback: Callable[[dict[str, Any]], Any] | None = None,
    ) -> Replies:
        """Say it and return the answers, one mapping ``{node: reply}`` for each.

        Waits until nothing came for ``timeout`` seconds, ``limit`` answers are there, or everybody
        has answered. ``callback`` is given each as it comes. Raises OperationalError.
        """
        caller = str(uuid.uuid4())
        ticket = str(uuid.uuid4())
        asked = Command(
            method=command.method,
            arguments=command.arguments,
            destination=command.destination,
            pattern=command.pattern,
            matcher=command.matcher,
            ticket=ticket,
            reply_exchange=self._names.replies.name,
            reply_key=caller,
            clock=self._clock.forward(),
        )
        line = self._bus.open_line([self._names.caller(caller)])
        try:
            line.listen(PATIENCE)
            heard_by = self._send(line, asked, time.time() + timeout)
            expected = _smallest(limit, expected_answers(asked, heard_by, tuple(self._known())))
            # Several may arrive in one piece.
            return self._gather(line, ticket, timeout, expected, callback)[:limit]
        finally:
            line.close()

    def _send(self, line: Line, command: Command, expires: float) -> int | None:
        message = pidbox.encode_command(command, serializer=self._serializer, expires=expires)
        return line.tell([Notice(self._names.commands, "", message)], timeout=PATIENCE)

    def _gather(
        self,
        line: Line,
        ticket: str,
        timeout: float,
        expected: int | None,
        callback: Callable[[dict[str, Any]], Any] | None,
    ) -> Replies:
        replies: Replies = []
        deadline = time.monotonic() + timeout
        while expected is None or len(replies) < expected:
            left = deadline - time.monotonic()
            if left <= 0:
                break
            for notice in line.receive(left):
                try:
                    answers_to, reply = pidbox.decode_reply(notice.message, self._accept)
                except WireError:
                    continue  # not an answer: whoever sent it, we go on waiting for ours
                if answers_to != ticket:
                    continue
                self._clock.adjust(notice.message.headers.get("clock"))
                replies.append(reply)
                if callback is not None:
                    callback(reply)
                deadline = time.monotonic() + timeout
        return replies


def expected_answers(command: Command, heard_by: int | None, known: Sequence[str]) -> int | None:
    """How many answers can come; None where that is not known.

    ``heard_by``: how many got the command; ``known``: the names of workers that are alive. Where
    the two agree, those are all; where more heard it, some are Celery's, and we know no names.
    """
    if heard_by == 0:
        return 0
    if heard_by is not None and heard_by <= len(set(known)):
        return sum(command.is_for(node) for node in set(known))
    if command.destination:
        return len(set(command.destination))
    if command.pattern:
        return None
    return heard_by


def _smallest(*counts: int | None) -> int | None:
    known = [count for count in counts if count is not None]
    return min(known) if known else None


def merged(replies: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return ``{node: reply}`` of all."""
    return {node: reply for each in replies for node, reply in each.items()}


def checked_matcher(pattern: str | None, matcher: str | None) -> tuple[str | None, str | None]:
    """Return both as they travel; a pattern alone is a ``glob``. Raises UsageError."""
    if pattern is None:
        return None, None
    chosen = matcher or "glob"
    if chosen not in pidbox.MATCHERS:
        raise UsageError(
            f"matcher={matcher!r}: a pattern is read as one of {', '.join(pidbox.MATCHERS)}."
        )
    return pattern, chosen
