"""Apps on a store in memory, and the smallest worker that runs their tasks.

The modules beside this one are a checklist: one test for each row of Celery's surface, named after
the row. What is not there yet is in LATER.md, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.one_worker import OneWorker
from tests.unit.app.conftest import _no_app_left_current, app, celery_app, new_app
from umbel.app.app import App

__all__ = ["_no_app_left_current", "app", "celery_app", "new_app"]


@pytest.fixture
def worker(app: App) -> Iterator[OneWorker]:
    """A worker of ``app``, running while the test runs."""
    with OneWorker(app, "celery") as running:
        yield running
