"""The limits that all workers of a memory driver share. Called by ``store.py``, under its lock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

import msgspec

from umbel.drivers.memory import shelf
from umbel.model.delivery import Receipt
from umbel.model.pace import Pace
from umbel.model.shared_limits import RESERVED, Held, Token, Wish


class _Hold(msgspec.Struct):
    """One limit of concurrency. A holder without an owner is kept a place until its moment."""

    most: int
    holders: dict[str, tuple[str | None, float]] = {}
    waiting: deque[tuple[str, shelf.Held]] = msgspec.field(default_factory=deque)


class MemoryLimits:
    """Not thread-safe: the store's lock is held around every call."""

    def __init__(
        self,
        now: Callable[[], float],
        alive: Callable[[str], bool],
        queue: Callable[[str], shelf.Shelf],
    ) -> None:
        self._now = now
        self._alive = alive
        self._queue = queue
        self._holds: dict[str, _Hold] = {}
        self._paces: dict[str, Pace] = {}

    def admit(self, owner: str, wish: Wish, claims: dict[Receipt, shelf.Held]) -> float | None:
        """As ``Gate.admit``, for one."""
        if wish.receipt not in claims:
            return None
        hold = None if wish.hold is None else self._hold(wish.hold, wish.most)
        if hold is not None and wish.task_id not in hold.holders:
            self._bury(hold)
            if hold.waiting or len(hold.holders) >= hold.most:
                message = claims.pop(wish.receipt)
                message.count -= 1
                hold.waiting.append((wish.task_id, message))
                self._let_go(hold)
                return None
        if wish.pace is not None:
            pace = self._paces.setdefault(wish.pace, Pace())
            wait = pace.wait(wish.interval, self._now())
            if wait:
                if hold is not None and wish.task_id in hold.holders:
                    del hold.holders[wish.task_id]
                    self._let_go(hold)
                return wait
        if hold is not None:
            hold.holders[wish.task_id] = owner, 0.0
        return 0.0

    def _hold(self, name: str, most: int) -> _Hold:
        hold = self._holds.get(name)
        if hold is None:
            hold = self._holds[name] = _Hold(most)
        hold.most = most
        return hold

    def _bury(self, hold: _Hold) -> bool:
        """Take the places of the dead away, and those that were kept in vain."""
        now = self._now()
        dead = [
            task_id
            for task_id, (owner, until) in hold.holders.items()
            if (until <= now if owner is None else not self._alive(owner))
        ]
        for task_id in dead:
            del hold.holders[task_id]
        return bool(dead)

    def _let_go(self, hold: _Hold) -> bool:
        """Send the first that wait to the front of their queues, as far as there are places."""
        gone = False
        while hold.waiting and len(hold.holders) < hold.most:
            task_id, message = hold.waiting.popleft()
            hold.holders[task_id] = None, self._now() + RESERVED
            self._queue(message.queue).put_back(message)
            gone = True
        return gone

    def release(self, owner: str, tokens: Iterable[Token]) -> None:
        """As ``Gate.release``."""
        for token in tokens:
            hold = self._holds.get(token.hold)
            if hold is None:
                continue
            if hold.holders.get(token.task_id, (None, 0.0))[0] == owner:
                del hold.holders[token.task_id]
            self._let_go(hold)
            if not hold.holders and not hold.waiting:
                del self._holds[token.hold]

    def sweep(self) -> bool:
        """As ``Gate.sweep``; True where something was let go."""
        gone = False
        now = self._now()
        self._paces = {k: p for k, p in self._paces.items() if p.free_at > now - 60.0}
        for name, hold in tuple(self._holds.items()):
            if self._bury(hold):
                gone = self._let_go(hold) or gone
            if not hold.holders and not hold.waiting:
                del self._holds[name]
        return gone

    def blocked(self, queue: str) -> int:
        """Return how many messages of a queue wait for a place."""
        return sum(each.queue == queue for hold in self._holds.values() for _, each in hold.waiting)

    def purge(self, queue: str) -> int:
        """Drop what waits of a queue; return how many."""
        dropped = self.blocked(queue)
        for hold in self._holds.values():
            hold.waiting = deque(each for each in hold.waiting if each[1].queue != queue)
        return dropped

    def held(self, most: int) -> list[Held]:
        """As ``Broker.limits_held``."""
        blocked = [(name, hold) for name, hold in self._holds.items() if hold.waiting]
        return [
            Held(
                name=name,
                most=hold.most,
                running=tuple(hold.holders),
                waiting=len(hold.waiting),
            )
            for name, hold in blocked[:most]
        ]
