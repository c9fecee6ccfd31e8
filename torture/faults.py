"""How each fault is made. What there is, and how often, stands in ``planning.FAULTS``.

A maker gets the arena and the planned fault. It does the deed at once, leaves its undoing to the
arena's timers, and returns what it did; None when nobody can be hit just now: it is asked again.
At least one worker is always left alone, so that somebody can rescue.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from torture.arena import END_PATIENCE, Arena, Slot
from torture.network import Line
from torture.planning import PlannedFault
from torture.processes import send_signal


@dataclass(slots=True, kw_only=True)
class Fault:
    """What was done. Moments are the machine's monotonic clock."""

    index: int
    name: str
    began: float
    ended: float | None = None
    """When it was undone; None while it lasts."""
    workers: tuple[str, ...] = ()
    """Whom it hit, as a whole."""
    pids: tuple[int, ...] = ()
    """Processes it killed or stopped."""
    everywhere: bool = False
    """It hit the store, and so everybody."""
    kills: str = ""
    """``executor`` or ``machine``: what ran there is to be rescued, and how fast is measured."""
    repeats: bool = False
    """Whether what was in flight there may run again."""
    detail: str = ""


Maker: TypeAlias = Callable[[Arena, PlannedFault], "Fault | None"]


def make(arena: Arena, planned: PlannedFault) -> Fault | None:
    """Make one fault now; None when it must wait."""
    return MAKERS[planned.name](arena, planned)


def _fault(planned: PlannedFault) -> Fault:
    return Fault(index=planned.index, name=planned.name, began=time.monotonic())


def _victim(arena: Arena, planned: PlannedFault) -> Slot | None:
    """Choose a healthy worker while another one stays healthy."""
    healthy = arena.healthy()
    if len(healthy) < min(2, len(arena.slots)):
        return None
    at_work = [slot for slot in healthy if arena.journal.busy(slot.worker.name)] or healthy
    return at_work[int(planned.who * len(at_work))]


def _disturb(
    arena: Arena, slot: Slot, fault: Fault, seconds: float, undo: Callable[[], None]
) -> None:
    """Keep other faults off a slot until this one is undone."""
    slot.disturbed += 1

    def over() -> None:
        undo()
        slot.disturbed -= 1
        fault.ended = time.monotonic()

    arena.later(seconds, over)


# --- death ----------------------------------------------------------------------------------------


def _kill_executor(arena: Arena, planned: PlannedFault) -> Fault | None:
    slot = _victim(arena, planned)
    if slot is None:
        return None
    executors = arena.busy_executors(slot)
    if not executors:
        return None
    pid = executors[int(planned.size * len(executors))]
    fault = _fault(planned)
    send_signal(pid, signal.SIGKILL)
    fault.ended, fault.pids, fault.kills, fault.repeats = fault.began, (pid,), "executor", True
    arena.journal.read()
    arena.journal.forget({pid})
    return fault


def _kill_machine(whom: str) -> Maker:
    def maker(arena: Arena, planned: PlannedFault) -> Fault | None:
        slot = _victim(arena, planned)
        if slot is None:
            return None
        worker = slot.worker
        everyone = worker.everyone()
        fault = _fault(planned)
        slot.expected = True
        if whom == "worker":
            worker.signal_all(signal.SIGKILL)
        else:
            pid = worker.pid if whom == "supervisor" else worker.template()
            if pid is None:
                slot.expected = False
                return None
            send_signal(pid, signal.SIGKILL)
        fault.workers, fault.pids = (worker.name,), tuple(everyone)
        fault.kills, fault.repeats = "machine", True
        _replace(arena, slot, fault, (0.2 + 1.5 * planned.size) * arena.setup.lease)
        return fault

    return maker


def _replace(arena: Arena, slot: Slot, fault: Fault, after: float) -> None:
    """Start another worker once the one there has ended and ``after`` seconds have passed."""
    slot.disturbed += 1
    deadline = time.monotonic() + END_PATIENCE
    old = slot.worker

    def look() -> None:
        late = time.monotonic() > deadline
        if old.alive() and not late:
            arena.later(0.1, look)
            return
        if late:
            old.end(0.1)
        fault.ended = time.monotonic()
        arena.journal.read()
        arena.journal.forget(set(fault.pids))
        arena.note_gone(slot, expected=True, killed=late)
        arena.restart(slot)
        slot.disturbed -= 1

    arena.later(after, look)


# --- frost ----------------------------------------------------------------------------------------


def _freeze(whom: str, shortest: float, longest: float, *, repeats: bool) -> Maker:
    """``shortest`` and ``longest`` in leases."""

    def maker(arena: Arena, planned: PlannedFault) -> Fault | None:
        slot = _victim(arena, planned)
        if slot is None:
            return None
        worker = slot.worker
        fault = _fault(planned)
        seconds = (shortest + (longest - shortest) * planned.size) * arena.setup.lease
        if whom == "worker":
            stop = worker.signal_all
            fault.workers = (worker.name,)
        elif whom == "supervisor":
            stop = worker.signal
            fault.workers = (worker.name,)
        else:
            executors = arena.busy_executors(slot)
            if not executors:
                return None
            pid = executors[int(planned.size * len(executors))]
            fault.pids = (pid,)
            stop = partial(send_signal, pid)
        stop(signal.SIGSTOP)
        fault.repeats = repeats
        fault.detail = f"{seconds:.1f} s"
        _disturb(arena, slot, fault, seconds, lambda: stop(signal.SIGCONT))
        return fault

    return maker


# --- being told to end ----------------------------------------------------------------------------


def _tell(number: signal.Signals, *, repeats: bool) -> Maker:
    def maker(arena: Arena, planned: PlannedFault) -> Fault | None:
        slot = _victim(arena, planned)
        if slot is None:
            return None
        fault = _fault(planned)
        slot.expected = True
        fault.workers, fault.repeats = (slot.worker.name,), repeats
        slot.worker.signal(number)
        _replace(arena, slot, fault, 0.05)
        return fault

    return maker


def _roll(arena: Arena, planned: PlannedFault) -> Fault | None:
    if len(arena.healthy()) < len(arena.slots):
        return None
    fault = _fault(planned)
    fault.workers = tuple(slot.worker.name for slot in arena.slots)
    left = list(arena.slots)

    def following() -> None:
        if not left:
            fault.ended = time.monotonic()
            return
        if any(slot.disturbed or not slot.worker.ready() for slot in arena.slots):
            arena.later(0.1, following)
            return
        slot = left.pop(0)
        slot.expected = True
        slot.worker.signal(signal.SIGTERM)
        part = Fault(index=fault.index, name=fault.name, began=fault.began)
        _replace(arena, slot, part, 0.05)
        arena.later(0.1, following)

    following()
    return fault


# --- clocks and disks -----------------------------------------------------------------------------


def _jump(arena: Arena, planned: PlannedFault) -> Fault | None:
    slot = _victim(arena, planned)
    if slot is None or slot.clock is None:
        return None
    fault = _fault(planned)
    seconds = (planned.size - 0.5) * 40.0
    slot.clock.shift(seconds)
    fault.workers = (slot.worker.name,)
    fault.detail = f"{seconds:+.1f} s"
    clock = slot.clock
    _disturb(arena, slot, fault, 2.0 * arena.setup.lease, lambda: clock.shift(0.0))
    return fault


def _fill(arena: Arena, planned: PlannedFault) -> Fault | None:
    seconds = 0.2 + 1.8 * planned.size

    def undo() -> None:
        arena.store.fill(False)

    return _strike(
        arena,
        planned,
        lambda: arena.store.fill(True),
        undo,
        seconds,
        repeats=seconds > arena.setup.lease / 2,
    )


# --- the server -----------------------------------------------------------------------------------


def _strike(
    arena: Arena,
    planned: PlannedFault,
    do: Callable[[], None],
    undo: Callable[[], None],
    seconds: float,
    *,
    repeats: bool,
) -> Fault | None:
    """Take the store away for so long. One such fault at a time."""
    if arena.store_disturbed:
        return None
    arena.store_disturbed += 1
    fault = _fault(planned)
    fault.everywhere = True
    fault.repeats = repeats
    fault.detail = f"{seconds:.1f} s"
    do()

    def over() -> None:
        undo()
        fault.ended = time.monotonic()
        arena.store_disturbed -= 1

    arena.later(seconds, over)
    return fault


def _down(*, crash: bool, long: bool) -> Maker:
    def maker(arena: Arena, planned: PlannedFault) -> Fault | None:
        lease = arena.setup.lease
        seconds = lease * (1.2 + planned.size) if long else 0.05 + 0.25 * lease * planned.size
        do = arena.store.kill if crash else arena.store.end
        return _strike(arena, planned, do, arena.store.start, seconds, repeats=long)

    return maker


def _freeze_store(arena: Arena, planned: PlannedFault) -> Fault | None:
    seconds = 0.2 + min(2.0, arena.setup.lease / 2) * planned.size
    return _strike(
        arena,
        planned,
        lambda: arena.store.freeze(True),
        lambda: arena.store.freeze(False),
        seconds,
        repeats=seconds > arena.setup.lease / 3,
    )


# --- the network ----------------------------------------------------------------------------------


def _cut(whom: str) -> Maker:
    def maker(arena: Arena, planned: PlannedFault) -> Fault | None:
        fault = _fault(planned)
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
            slot = _victim(arena, planned)
            if slot is None:
                return None
            line = slot.line
            fault.workers = (slot.worker.name,)
        assert line is not None
        line.cut()
        return fault

    return maker


def _slow(arena: Arena, planned: PlannedFault) -> Fault | None:
    slot = _victim(arena, planned)
    if slot is None:
        return None
    assert slot.line is not None
    line = slot.line
    fault = _fault(planned)
    delay = 0.02 + min(0.18, arena.setup.lease / 20) * planned.size
    line.slow(delay)
    fault.workers = (slot.worker.name,)
    fault.detail = f"{1000 * delay:.0f} ms"
    _disturb(arena, slot, fault, 1.5 * arena.setup.lease, lambda: line.slow(0.0))
    return fault


def _drop(whom: str, directions: tuple[str, ...], *, long: bool) -> Maker:
    def maker(arena: Arena, planned: PlannedFault) -> Fault | None:
        lease = arena.setup.lease
        seconds = lease * (1.5 + planned.size) if long else 0.05 + 0.2 * lease * planned.size
        fault = _fault(planned)
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
        slot = _victim(arena, planned)
        if slot is None or slot.line is None:
            return None
        cut = slot.line
        cut.drop(*directions)
        fault.workers = (slot.worker.name,)
        # Until the worker has noticed (socket_timeout is a third of the lease) it is disturbed.
        _disturb(arena, slot, fault, seconds, cut.drop)
        return fault

    return maker


MAKERS: dict[str, Maker] = {
    "kill-executor": _kill_executor,
    "kill-supervisor": _kill_machine("supervisor"),
    "kill-template": _kill_machine("template"),
    "kill-worker": _kill_machine("worker"),
    "freeze-short": _freeze("worker", 0.1, 0.4, repeats=False),
    "freeze-long": _freeze("worker", 1.3, 2.5, repeats=True),
    "freeze-supervisor": _freeze("supervisor", 1.3, 2.5, repeats=True),
    "freeze-executor": _freeze("executor", 1.3, 2.5, repeats=False),
    "terminate": _tell(signal.SIGTERM, repeats=False),
    "quit": _tell(signal.SIGQUIT, repeats=True),
    "rolling-restart": _roll,
    "clock-jump": _jump,
    "store-restart": _down(crash=False, long=False),
    "store-crash": _down(crash=True, long=False),
    "store-away": _down(crash=True, long=True),
    "store-frozen": _freeze_store,
    "cut-worker": _cut("worker"),
    "cut-client": _cut("client"),
    "cut-all": _cut("all"),
    "slow-worker": _slow,
    "drop-replies": _drop("worker", ("back",), long=False),
    "drop-both": _drop("worker", ("forth", "back"), long=False),
    "cut-off": _drop("worker", ("forth", "back"), long=True),
    "drop-client": _drop("client", ("back",), long=False),
    "disk-full": _fill,
}
