"""How each fault is made. What there is, and how often, stands in ``planning.FAULTS``.

A maker gets the arena and the planned fault. It does the deed at once, leaves its undoing to the
arena's timers, and returns what it did; None when nobody can be hit just now: it is asked again.
At least one worker is always left alone, so that somebody can rescue.
"""

from __future__ import annotations

import signal
import time
from functools import partial

from torture import outages
from torture.arena import END_PATIENCE, Arena, Slot
from torture.fault import Fault, Maker, begun, disturb, victim_of
from torture.planning import PlannedFault
from torture.processes import send_signal


def make(arena: Arena, planned: PlannedFault) -> Fault | None:
    """Make one fault now; None when it must wait."""
    fault = MAKERS[planned.name](arena, planned)
    if fault is not None and not arena.store.leases and planned.name in BREAK_CONNECTIONS:
        fault.repeats = True
        # What vanished in silence is noticed by two heartbeats that do not come.
        fault.lingers = 2.0 * arena.setup.lease + 1.0
    return fault


# --- death ----------------------------------------------------------------------------------------


def _kill_executor(arena: Arena, planned: PlannedFault) -> Fault | None:
    slot = victim_of(arena, planned)
    if slot is None:
        return None
    executors = arena.busy_executors(slot)
    if not executors:
        return None
    pid = executors[int(planned.size * len(executors))]
    fault = begun(planned)
    send_signal(pid, signal.SIGKILL)
    fault.ended, fault.pids, fault.kills, fault.repeats = fault.began, (pid,), "executor", True
    arena.journal.read()
    arena.journal.forget({pid})
    return fault


def _kill_machine(whom: str) -> Maker:
    def maker(arena: Arena, planned: PlannedFault) -> Fault | None:
        slot = victim_of(arena, planned)
        if slot is None:
            return None
        worker = slot.worker
        everyone = worker.everyone()
        fault = begun(planned)
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
        slot = victim_of(arena, planned)
        if slot is None:
            return None
        worker = slot.worker
        fault = begun(planned)
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
        disturb(arena, slot, fault, seconds, lambda: stop(signal.SIGCONT))
        return fault

    return maker


# --- being told to end ----------------------------------------------------------------------------


def _tell(number: signal.Signals, *, repeats: bool) -> Maker:
    def maker(arena: Arena, planned: PlannedFault) -> Fault | None:
        slot = victim_of(arena, planned)
        if slot is None:
            return None
        fault = begun(planned)
        slot.expected = True
        fault.workers, fault.repeats = (slot.worker.name,), repeats
        slot.worker.signal(number)
        _replace(arena, slot, fault, 0.05)
        return fault

    return maker


def _roll(arena: Arena, planned: PlannedFault) -> Fault | None:
    if len(arena.healthy()) < len(arena.slots):
        return None
    fault = begun(planned)
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
    slot = victim_of(arena, planned)
    if slot is None or slot.clock is None:
        return None
    fault = begun(planned)
    seconds = (planned.size - 0.5) * 40.0
    slot.clock.shift(seconds)
    fault.workers = (slot.worker.name,)
    fault.detail = f"{seconds:+.1f} s"
    clock = slot.clock
    disturb(arena, slot, fault, 2.0 * arena.setup.lease, lambda: clock.shift(0.0))
    return fault


def _fill(arena: Arena, planned: PlannedFault) -> Fault | None:
    seconds = 0.2 + 1.8 * planned.size

    def undo() -> None:
        arena.store.fill(False)

    return outages.strike(
        arena,
        planned,
        lambda: arena.store.fill(True),
        undo,
        seconds,
        repeats=seconds > arena.setup.lease / 2,
    )


BREAK_CONNECTIONS = frozenset(
    [
        "freeze-long",
        "freeze-supervisor",
        "store-restart",
        "store-crash",
        "store-away",
        "store-frozen",
        "cut-worker",
        "cut-all",
        "drop-replies",
        "drop-both",
        "cut-off",
    ]
)
"""Where claims live with their connection, these give them to others."""

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
    "store-restart": outages.down(crash=False, long=False),
    "store-crash": outages.down(crash=True, long=False),
    "store-away": outages.down(crash=True, long=True),
    "store-frozen": outages.freeze_store,
    "cut-worker": outages.cut("worker"),
    "cut-client": outages.cut("client"),
    "cut-all": outages.cut("all"),
    "slow-worker": outages.slow,
    "drop-replies": outages.drop("worker", ("back",), long=False),
    "drop-both": outages.drop("worker", ("forth", "back"), long=False),
    "cut-off": outages.drop("worker", ("forth", "back"), long=True),
    "drop-client": outages.drop("client", ("back",), long=False),
    "disk-full": _fill,
}
