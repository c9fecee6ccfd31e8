"""Fixtures for pytest: a sandbox or a worker on a thread, for the app of the project's choice.

Loaded by itself where Umbel is installed (entry point ``pytest11``). The project says which app:

    @pytest.fixture
    def umbel_app():
        return shop.app
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from umbel.testing.in_process import Machine
    from umbel.testing.sandbox import Sandbox


@pytest.fixture
def umbel_app() -> Any:
    """Return the app under test. Projects override it."""
    pytest.fail(
        "Say which app is under test: define a fixture umbel_app, in conftest.py for example, that"
        " returns it.",
        pytrace=False,
    )


@pytest.fixture
def umbel_sandbox(umbel_app: Any) -> Iterator[Sandbox]:
    """The app on a store in memory, with a worker and a clock that the test turns."""
    # The worker's modules cost 100 ms, and every pytest run in this environment loads this file.
    from umbel.testing.sandbox import Sandbox  # noqa: PLC0415

    with Sandbox(umbel_app) as sandbox:
        yield sandbox


@pytest.fixture
def umbel_worker(umbel_app: Any) -> Iterator[Machine]:
    """A worker of the app, on a thread, on the app's own broker, while the test runs."""
    from umbel.testing.worker_thread import running_worker  # noqa: PLC0415 - as above

    with running_worker(umbel_app) as worker:
        yield worker
