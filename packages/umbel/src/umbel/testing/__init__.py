"""Tools for tests, ours and yours.

``Sandbox``: an app on a store in memory, with the real worker and a clock that the test turns.
``running_worker``: a worker on a thread. ``ManualClock``, ``FaultyBroker``, and in
``conformance`` the suites that every driver must pass.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from umbel.testing.faults import FaultyBroker as FaultyBroker
    from umbel.testing.manual_clock import ManualClock as ManualClock
    from umbel.testing.sandbox import Sandbox as Sandbox
    from umbel.testing.worker_thread import running_worker as running_worker

__all__ = ["FaultyBroker", "ManualClock", "Sandbox", "running_worker"]

_HOMES = {
    "FaultyBroker": "umbel.testing.faults",
    "ManualClock": "umbel.testing.manual_clock",
    "Sandbox": "umbel.testing.sandbox",
    "running_worker": "umbel.testing.worker_thread",
}
"""The worker's modules are loaded when somebody wants one: a clock needs none of them."""


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'umbel.testing' has no attribute {name!r}")
    return getattr(import_module(home), name)
