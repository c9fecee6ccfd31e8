"""What ``task.delay`` costs in Python, without the broker: the budget is 25 microseconds.

Run: ``python benchmarks/decisions/delay_cost.py [--profile]``. The broker is a publisher that takes
messages and forgets them, so what is measured is everything between the caller and the driver:
argument check, plan, message, encoding, flat-combining publisher, handle.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import timeit
from collections.abc import Callable, Sequence
from typing import Any

from umbel import Umbel
from umbel.drivers.opening import open_broker
from umbel.model.queues import Outgoing

BUDGET = 25.0
ROUNDS = 20_000


class _Nowhere:
    """A publisher that forgets."""

    def publish(self, outgoing: Sequence[Outgoing], *, timeout: float) -> None:
        pass

    def close(self) -> None:
        pass


def best(call: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Return the microseconds of one call, the best of seven rounds."""
    return min(timeit.repeat(call, number=rounds, repeat=7)) / rounds * 1e6


def make_app() -> tuple[Umbel, Any]:
    """Return an app that sends to nowhere, and its task."""
    app = Umbel("cost", broker="memory://delay-cost", backend="memory://delay-cost")

    @app.task(name="cost.add")
    def add(x: int, y: int) -> int:
        return x + y

    open_broker("memory://delay-cost", {})
    app.publishing._publisher = _Nowhere()  # type: ignore[assignment]  # it is a benchmark
    return app, add


def main() -> None:
    """Print what each part costs."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--profile", action="store_true")
    app, add = make_app()
    add.delay(2, 3)
    if words.parse_args().profile:
        profile = cProfile.Profile()
        profile.runcall(lambda: [add.delay(2, 3) for _ in range(ROUNDS)])
        pstats.Stats(profile).sort_stats("tottime").print_stats(20)
        return
    plan = add.plan
    call = plan.prepare((2, 3), {})
    outgoing = call.outgoing()
    rows = {
        "argument check": lambda: add.argument_check.check((2, 3), {}),
        "plan lookup": lambda: add.plan,
        "message (plan.prepare)": lambda: plan.prepare((2, 3), {}),
        "encoding (call.outgoing)": call.outgoing,
        "publishing, broker excluded": lambda: app.publishing.publish((outgoing,)),
        "handle": lambda: add.AsyncResult("id"),
        "delay(2, 3), all of it": lambda: add.delay(2, 3),
        "delay(2, y=3)": lambda: add.delay(2, y=3),
        "apply_async(countdown=5)": lambda: add.apply_async((2, 3), countdown=5),
    }
    print(f"{'part':<32}{'µs':>8}")
    for name, part in rows.items():
        print(f"{name:<32}{best(part):>8.2f}")
    print(f"budget for delay: {BUDGET} µs")


if __name__ == "__main__":
    main()
