"""The soak: millions of tasks through workers that live long, to see whether anything grows.

Memory of the supervisors and size of the store are measured against the tasks done, after a quarter
of them as warm-up. Connections are cut on the way, and some tasks fail. Results are kept for
seconds only, so that a store which is swept as it should be stays as it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torture.arena import Arena
from torture.planning import Setup
from torture.processes import memory
from torture.report import MIB, PER, commit, machine, told_slope
from torture.slope import Slope, fit
from umbel.drivers.opening import open_broker
from umbel.errors import OperationalError
from umbel.model.presence import Presence
from umbel.ports import Broker

BATCH = 1000
QUEUE = "celery"
FULL = 10_000
"""Messages that wait at most: enough that no worker ever waits."""
KEEP_RESULTS = 20.0
"""Seconds."""
WARM_UP = 0.25
"""Part of the tasks that is not measured: the allocator still finds its highest level."""
SAMPLE_EVERY = 1.0
LEASE = 15.0
SWOLLEN = 1.4
"""How much larger the store may be at its smallest in the last third than in the second. With the
rate it breathes; were nothing swept, this would be 2."""


@dataclass(slots=True)
class Soak:
    """What was seen."""

    setup: Setup
    fail_every: int
    sent: int = 0
    doubtful: int = 0
    """Messages that were sent again, and may be there twice."""
    reconnects: int = 0
    processed: dict[str, int] = field(default_factory=dict)
    left: int = 0
    seconds: float = 0.0
    samples: dict[str, list[tuple[float, int, int]]] = field(default_factory=dict)
    """Worker -> (tasks done there, resident bytes, own bytes)."""
    sizes: list[tuple[int, int]] = field(default_factory=list)
    """(tasks done, bytes of the store)."""
    gave_up: int = 0


def soak(
    setup: Setup, home: Path, *, reconnects: int, fail_every: int, tell: Callable[[str], None]
) -> Soak:
    """Send ``setup.tasks`` tasks through and return what was seen."""
    settings = {
        "result_expires": KEEP_RESULTS,
        "worker_lease": LEASE,
        "worker_lease_renewal": 1.0,  # the counts come with it
    }
    arena = Arena(setup, home, **settings)
    broker = open_broker(arena.store.url(), {})
    try:
        return _Soaker(arena, broker, reconnects, Soak(setup, fail_every), tell).run()
    finally:
        broker.close()
        arena.close()


class _Soaker:
    """Drives one soak."""

    def __init__(
        self,
        arena: Arena,
        broker: Broker,
        reconnects: int,
        seen: Soak,
        tell: Callable[[str], None],
    ) -> None:
        self._arena = arena
        self._broker = broker
        self._seen = seen
        self._tell = tell
        self._cut_every = 0.95 * seen.setup.tasks / (reconnects or 1)
        self._reconnects = reconnects
        self._sample_at = 0.0
        self._tell_at = 0.0
        self._unanswered = 0

    def run(self) -> Soak:
        arena, seen = self._arena, self._seen
        arena.open()
        arena.wait_ready()
        sender = arena.sender()
        began = time.monotonic()
        try:
            done, last = 0, began
            while done < seen.setup.tasks:
                presences = self._presences()
                now_done = sum(sum(each.processed.values()) for each in presences)
                if now_done > done:
                    done, last = now_done, time.monotonic()
                elif time.monotonic() - last > seen.setup.patience:
                    break
                self._measure(presences, done)
                self._cut(done)
                for words in sender.said():
                    if words[0] == "again":
                        seen.doubtful += int(words[2])
                    else:
                        self._unanswered -= 1
                waiting = self._waiting()
                while (
                    seen.sent < seen.setup.tasks
                    and self._unanswered < 3
                    and waiting + self._unanswered * BATCH < FULL
                ):
                    sender.send({"first": seen.sent, "count": BATCH, "fail_every": seen.fail_every})
                    seen.sent += BATCH
                    self._unanswered += 1
                time.sleep(0.1)
            seen.processed = self._total()
            seen.left = self._waiting()
        finally:
            sender.close()
        seen.seconds = time.monotonic() - began
        seen.gave_up = sum(1 for gone in arena.gone if not gone.expected)
        arena.end_workers()
        return seen

    def _presences(self) -> list[Presence]:
        self._arena.look_after_workers()
        try:
            return list(self._broker.presences())
        except OperationalError:
            return []  # its connection was cut with the others

    def _total(self) -> dict[str, int]:
        total: dict[str, int] = {}
        for presence in self._presences():
            for state, count in presence.processed.items():
                total[state] = total.get(state, 0) + count
        return total

    def _waiting(self) -> int:
        try:
            (stats,) = self._broker.stats([QUEUE])
        except OperationalError:
            return FULL
        return stats.ready + (stats.claimed or 0) + (stats.delayed or 0)

    def _measure(self, presences: list[Presence], done: int) -> None:
        now = time.monotonic()
        if now < self._sample_at:
            return
        self._sample_at = now + SAMPLE_EVERY
        seen = self._seen
        for presence in presences:
            resident, own = memory(presence.pid)
            if resident:
                point = (sum(presence.processed.values()) / PER, resident, own)
                seen.samples.setdefault(presence.name, []).append(point)
        seen.sizes.append((done, self._arena.store.size()))
        if now >= self._tell_at:
            self._tell_at = now + 15.0
            largest = max((points[-1][1] for points in seen.samples.values()), default=0)
            self._tell(
                f"{done:,} done, {seen.reconnects} times cut, supervisor {largest / MIB:.1f} MiB,"
                f" store {seen.sizes[-1][1] / MIB:.1f} MiB"
            )

    def _cut(self, done: int) -> None:
        store = self._arena.store
        due = done >= self._cut_every * (self._seen.reconnects + 1)
        if due and self._seen.reconnects < self._reconnects and store.server:
            store.cut_all()
            self._seen.reconnects += 1


# --- what it means --------------------------------------------------------------------------------


def summary(seen: Soak) -> dict[str, Any]:
    """Return what is kept of a soak."""
    resident, own = (_slope(seen, column) for column in (1, 2))
    done = sum(seen.processed.values())
    thirds = _thirds(seen)
    kept: dict[str, Any] = {
        "store": seen.setup.store,
        "tasks": seen.setup.tasks,
        "workers": f"{seen.setup.workers} x {seen.setup.concurrency} ({seen.setup.pool})",
        "commit": commit(),
        "machine": machine(),
        "seconds": round(seen.seconds, 1),
        "processed": seen.processed,
        "sent_again": seen.doubtful,
        "left": seen.left,
        "reconnects": seen.reconnects,
        "resident": told_slope(resident),
        "own": told_slope(own),
        "store_bytes": {"second third": thirds[0], "last third": thirds[1]},
        "gave_up": seen.gave_up,
        "samples": seen.samples,
        "sizes": seen.sizes,
    }
    broken = []
    if done < seen.setup.tasks or seen.left:
        broken.append(f"{done:,} of {seen.setup.tasks:,} tasks ended, {seen.left} are left")
    if done > seen.setup.tasks + seen.doubtful:
        broken.append(f"{done - seen.setup.tasks:,} tasks ended twice; only {seen.doubtful} may")
    if seen.gave_up:
        broken.append(f"{seen.gave_up} workers gave up by themselves")
    if own is None or not own.flat:
        broken.append(f"the supervisor's own memory: {told_slope(own)}")
    if thirds[0] and thirds[1] > SWOLLEN * thirds[0]:
        broken.append(
            f"the store's smallest size grew from {thirds[0] / MIB:.1f} to"
            f" {thirds[1] / MIB:.1f} MiB"
        )
    return kept | {"broken": broken}


def table(kept: dict[str, Any]) -> str:
    """Return a summary as lines of text."""
    ended = ", ".join(f"{state} {count:,}" for state, count in sorted(kept["processed"].items()))
    sizes = kept["store_bytes"]
    rows = [
        ("tasks", f"{kept['tasks']:,} in {kept['seconds']:.0f} s on {kept['workers']}"),
        ("ended", f"{ended}; sent again {kept['sent_again']:,}; left {kept['left']}"),
        ("connections cut", f"{kept['reconnects']} times, all of them"),
        ("supervisor, resident", kept["resident"]),
        ("supervisor, its own", kept["own"]),
        (
            "store",
            f"smallest {sizes['second third'] / MIB:.1f} MiB in the second third,"
            f" {sizes['last third'] / MIB:.1f} MiB in the last; largest"
            f" {max((size for _, size in kept['sizes']), default=0) / MIB:.1f} MiB",
        ),
    ]
    head = f"soak on {kept['store']}"
    broken = [f"BROKEN: {each}" for each in kept["broken"]] or ["nothing grew, nothing was lost"]
    return "\n".join([head, "-" * len(head), *(f"{a:<21} {b}" for a, b in rows), *broken])


def _slope(seen: Soak, column: int) -> Slope | None:
    series = []
    for points in seen.samples.values():
        warm = WARM_UP * points[-1][0]
        series.append([(each[0], float(each[column])) for each in points if each[0] >= warm])
    return fit(series)


def _thirds(seen: Soak) -> tuple[int, int]:
    third = seen.setup.tasks / 3
    second = min((size for done, size in seen.sizes if third <= done < 2 * third), default=0)
    return second, min((size for done, size in seen.sizes if done >= 2 * third), default=0)
