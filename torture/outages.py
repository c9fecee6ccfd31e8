"""Faults of the server and of the network between it and its clients. Used by ``faults``."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from torture.arena import Arena
from torture.fault import Fault, Maker, begun, disturb, victim_of
from torture.network import Line
from torture.planning import PlannedFault


def strike(
    arena: Arena,
    planned: PlannedFault,
    do: Callable[[], None],
    undo: Callable[[], None],
    seconds: float,
    *,
    repeats: bool,
) -> Fault | None:
    """Take the store away for so long. One such fault at a time.

    A busy machine may need longer to have the server back. A lease that was renewed a third of its
    length before may have ended by then, and what was in flight runs again, as it must.
    """
    if arena.store_disturbed:
        return None
    arena.store_disturbed += 1
    fault = begun(planned)
    fault.everywhere = True
    fault.repeats = repeats
    fault.detail = f"{seconds:.1f} s"
    do()

    def over() -> None:
        undo()
        fault.ended = time.monotonic()
        fault.repeats = repeats or fault.ended - fault.began > arena.setup.lease * 2 / 3
        arena.store_disturbed -= 1

    arena.later(seconds, over)
    return fault


def down(*, crash: bool, long: bool) -> Maker:
    def maker(arena: Arena, planned: PlannedFault) -> Fault | None:
        lease = arena.setup.lease
        seconds = lease * (1.2 + planned.size) if long else 0.05 + 0.25 * lease * planned.size
        do = arena.store.kill if crash else arena.store.end
        return strike(arena, planned, do, arena.store.start, seconds, repeats=long)

    return maker


def freeze_store(arena: Arena, planned: PlannedFault) -> Fault | None:
    seconds = 0.2 + min(2.0, arena.setup.lease / 2) * planned.size
    return strike(
        arena,
        planned,
        lambda: arena.store.freeze(True),
        lambda: arena.store.freeze(False),
        seconds,
        repeats=seconds > arena.setup.lease / 3,
    )


# --- the network ----------------------------------------------------------------------------------


def cut(whom: str) -> Maker:
    def maker(arena: Arena, planned: PlannedFault) -> Fault | None:
        fault = begun(planned)
        fault.ended = fault.began
        if whom == "all":
            if arena.store_disturbed:
                return None
            with contextlib.suppress(OSError):
                arena.store.cut_all()
            fault.everywhere = True
            return fault
        line: Line | None = arena.client_line
        if whom == "worker":
            slot = victim_of(arena, planned)
            if slot is None:
                return None
            line = slot.line
            fault.workers = (slot.worker.name,)
        assert line is not None
        line.cut()
        return fault

    return maker


def slow(arena: Arena, planned: PlannedFault) -> Fault | None:
    slot = victim_of(arena, planned)
    if slot is None:
        return None
    assert slot.line is not None
    line = slot.line
    fault = begun(planned)
    delay = 0.02 + min(0.18, arena.setup.lease / 20) * planned.size
    line.slow(delay)
    fault.workers = (slot.worker.name,)
    fault.detail = f"{1000 * delay:.0f} ms"
    disturb(arena, slot, fault, 1.5 * arena.setup.lease, lambda: line.slow(0.0))
    return fault


def drop(whom: str, directions: tuple[str, ...], *, long: bool) -> Maker:
    def maker(arena: Arena, planned: PlannedFault) -> Fault | None:
        lease = arena.setup.lease
        seconds = lease * (1.5 + planned.size) if long else 0.05 + 0.2 * lease * planned.size
        fault = begun(planned)
        fault.detail = f"{seconds:.1f} s"
        fault.repeats = long
        if whom == "client":
            line = arena.client_line
            assert line is not None
            line.drop(*directions)

            def heal(healed: Line = line) -> None:
                healed.drop()
                fault.ended = time.monotonic()

            arena.later(seconds, heal)
            return fault
        slot = victim_of(arena, planned)
        if slot is None or slot.line is None:
            return None
        cut = slot.line
        cut.drop(*directions)
        fault.workers = (slot.worker.name,)
        # Until the worker has noticed (socket_timeout is a third of the lease) it is disturbed.
        disturb(arena, slot, fault, seconds, cut.drop)
        return fault

    return maker
