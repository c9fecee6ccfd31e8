"""Where the last claim ended, for the claims that need not look before it.

A claimed row leaves a dead entry in the index until vacuum takes it away: it comes once a minute,
and not at all while a transaction is open anywhere that might still see the row. Who looks from the
beginning of a queue steps over all of them: 60 ms a claim after 200,000 tasks beside an open
transaction, against 0.5 ms from where the last claim ended
(``python -m benchmarks.decisions.postgres_history --open``).

What comes later lies behind, but for a message that came back to its old place and one whose sender
committed late. So somebody must look from the beginning now and then: always while that is cheap,
and else so seldom that it takes a twentieth of the time. Such a message waits for that look.

``consumer`` has one. Pure but for the clock.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

CHEAP = 0.002
"""Seconds; a look from the beginning that takes no more is not worth avoiding."""
SHARE = 20
"""Dearer ones are so many times their length apart."""
LONGEST = 10.0
"""Seconds between two of them at most."""
_LAST_LEVEL, _FIRST_PLACE = 2**15 - 1, -1
"""All there is lies before this level, or at it behind this place."""


class Frontier:
    """One thread at a time."""

    def __init__(self) -> None:
        self._reached: dict[str, tuple[int, int]] = {}
        """By queue: a priority, and the place that claims of this priority have come to."""
        self._may_look_at = 0.0
        self.look_at = float("inf")
        """When somebody must look from the beginning before going to sleep: the last look did not,
        and found less than there may be."""

    def may_look(self) -> bool:
        """Tell whether it is time to look from the beginning."""
        return not self._reached or time.monotonic() >= self._may_look_at

    def values(self, queues: Sequence[str], *, whole: bool) -> dict[str, list[int]]:
        """Return from where to look in each queue, for ``claim_queues``."""
        start = _LAST_LEVEL, _FIRST_PLACE
        reached = [start if whole else self._reached.get(queue, start) for queue in queues]
        return {
            "levels": [level for level, _ in reached],
            "places": [place for _, place in reached],
        }

    def note(self, rows: Sequence[tuple[Any, ...]], *, whole: bool, seconds: float) -> None:
        """Take in what a claim returned after so many ``seconds``."""
        if whole:
            took = rows[0][-1] if rows else seconds
            wait = min(LONGEST, SHARE * max(0.0, took - CHEAP))
            self._may_look_at = time.monotonic() + wait
            self.look_at = float("inf")
            if not wait:
                self._reached.clear()  # not needed
                return
        else:
            self.look_at = self._may_look_at
        self._advance(rows)

    def _advance(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Go to the last place of the priority that most of the rows of a queue have."""
        found: dict[tuple[str, int], list[int]] = {}
        for _, queue, _, _, priority, place, _ in rows:
            found.setdefault((queue, priority), []).append(place)
        for (queue, priority), places in sorted(found.items(), key=lambda each: len(each[1])):
            self._reached[queue] = priority, max(places)

    def forget(self) -> None:
        """Look from the beginning next: something may have come back to its old place."""
        self._reached.clear()
