"""The walk of one task: which functions of Umbel it passes, in which files, how deep.

    python tools/measure_walk.py          the table, for ARCHITECTURE.md
    python tools/measure_walk.py --list   every function in the order it is first entered
    python tools/measure_walk.py --json   the same for programs

Sends one task over the memory driver, runs it in a ``solo`` worker in this process, and reads its
result, with every call into the package counted. The architecture test holds the walk to a budget.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

import umbel

HOME = str(Path(umbel.__file__).parent)


class Leg(msgspec.Struct):
    """One part of the walk: functions in the order of their first call, and the deepest stack."""

    name: str
    functions: dict[tuple[str, str], None]
    depth: int = 0

    @property
    def files(self) -> list[str]:
        return list(dict.fromkeys(file for file, _ in self.functions))


@contextmanager
def watching(leg: Leg) -> Iterator[None]:
    """Count the calls into Umbel made inside the block, on this thread."""

    def profile(frame: FrameType, event: str, _argument: Any) -> None:
        if event != "call":
            return
        code = frame.f_code
        if not code.co_filename.startswith(HOME) or code.co_name.startswith("<"):
            return
        leg.functions.setdefault((code.co_filename[len(HOME) + 1 :], code.co_qualname))
        depth, up = 0, frame
        while up is not None:
            depth += up.f_code.co_filename.startswith(HOME)
            up = up.f_back  # type: ignore[assignment]
        leg.depth = max(leg.depth, depth)

    before: Callable[..., Any] | None = sys.getprofile()
    sys.setprofile(profile)
    try:
        yield
    finally:
        sys.setprofile(before)


def walk() -> list[Leg]:
    """Send, run and fetch one task; return the legs: caller, worker, reader."""
    app = umbel.Umbel("walk", broker="memory://walk", backend="memory://walk")

    @app.task(name="walk.add")
    def add(x: int, y: int) -> int:
        return x + y

    desk = _Desk(app)
    # Once unseen, so that what is only done at first use is not counted.
    first = add.delay(1, 2)
    desk.claim_and_run()
    assert first.get(timeout=5) == 3
    legs = [Leg(name, {}) for name in ("caller", "worker", "reader")]
    with watching(legs[0]):
        result = add.delay(4, 5)
    with watching(legs[1]):
        desk.claim_and_run()
    with watching(legs[2]):
        assert result.get(timeout=5) == 9
    desk.close()
    app.close()
    return legs


class _Desk:
    """A worker without threads: the steps of intake and supervisor, one after another."""

    def __init__(self, app: Any) -> None:
        from umbel.clock import SystemClock
        from umbel.worker.execution import Execution
        from umbel.worker.intake import Intake
        from umbel.worker.loading import load
        from umbel.worker.pools.solo import SoloPool
        from umbel.worker.supervisor import Supervisor
        from umbel.worker.wiring import open_stores, presence_of
        from umbel.worker.worker_options import WorkerOptions

        loaded = load(WorkerOptions(app_object=app, pool="solo", loglevel="ERROR"))
        pool = SoloPool(Execution(loaded.app, node=loaded.plan.node, pid=1))
        broker, backend = open_stores(loaded.plan)
        self.intake = Intake(
            broker,
            backend,
            loaded.plan,
            presence_of(loaded.plan),
            clock=SystemClock(),
            notify=pool.wake,
        )
        self.supervisor = Supervisor(loaded.plan, pool, self.intake, SystemClock())
        self.intake.connect()
        self.supervisor.step(0.0)

    def claim_and_run(self) -> None:
        self.intake.step(0.0)  # claim and admit
        self.supervisor.step(0.0)  # take and hand to the pool
        self.supervisor.step(0.0)  # run, report, post
        self.intake.step(0.0)  # one exchange: record, acknowledgement, next claim

    def close(self) -> None:
        self.intake.ask_to_stop()
        while not self.intake.step(0.0):
            pass


def _told(leg: Leg) -> dict[str, Any]:
    return {"name": leg.name, "depth": leg.depth, "functions": list(leg.functions)}


def main() -> int:
    legs = walk()
    if "--json" in sys.argv:
        print(msgspec.json.encode([_told(leg) for leg in legs]).decode())
        return 0
    print("| leg | functions | files | depth |\n|---|---|---|---|")
    for leg in legs:
        print(f"| {leg.name} | {len(leg.functions)} | {len(leg.files)} | {leg.depth} |")
    functions = {each for leg in legs for each in leg.functions}
    files = {file for file, _ in functions}
    print(f"| **all** | {len(functions)} | {len(files)} | {max(leg.depth for leg in legs)} |")
    if "--list" in sys.argv:
        for leg in legs:
            print(f"\n{leg.name}:")
            for file, name in leg.functions:
                print(f"  {file:34} {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
