"""The store is away in the moment in which a chord goes from its header to its body."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.conformance.one_worker import OneWorker
from umbel.app.app import App
from umbel.errors import BackendUnavailable
from umbel.workflows.canvas import chord

PATIENCE = 20


@pytest.fixture
def app() -> Iterator[App]:
    url = f"memory://{uuid.uuid4().hex}"
    with App("away", broker=url, backend=url, result_chord_retry_interval=0.01) as made:
        yield made


def test_a_chord_goes_on_when_the_store_is_back(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = app.result_backend
    fetch_join, asked = backend.fetch_join, []

    def away_at_first(join_id: str):
        asked.append(join_id)
        if len(asked) <= 5:  # more often than a task of the user's would be tried
            raise BackendUnavailable("The result store cannot be reached.")
        return fetch_join(join_id)

    monkeypatch.setattr(backend, "fetch_join", away_at_first)
    double = app.task(name="double")(lambda n: 2 * n)
    total = app.task(name="total")(sum)
    with OneWorker(app, "celery"):
        result = chord([double.s(1), double.s(2)], total.s()).delay()
        assert result.get(timeout=PATIENCE) == 6
    assert len(asked) == 6
