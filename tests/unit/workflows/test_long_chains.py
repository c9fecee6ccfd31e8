"""Chains so long that their steps travel unread: the same as short ones in every respect."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.one_worker import OneWorker
from umbel.app.app import App
from umbel.wire.later_steps import LaterSteps
from umbel.workflows.canvas import chain, chord, group

PATIENCE = 20
LONG = 150


@pytest.fixture(scope="module", params=["json", "pickle"])
def app(request: pytest.FixtureRequest) -> Iterator[App]:
    """The second with results and later messages in another serializer than the first."""
    url = f"memory://{uuid.uuid4().hex}"
    settings = {"accept_content": ["json", "pickle"], "task_serializer": request.param}
    with App("long", broker=url, backend=url, **settings) as made:
        made.seen = []  # type: ignore[attr-defined]
        made.task(name="add")(lambda x, y=1: x + y)
        made.task(name="total")(sum)
        tried: list[int] = []

        @made.task(name="boom")
        def boom(value: int) -> None:
            raise ValueError(value)

        @made.task(name="again", bind=True, serializer="json")
        def again(self: Any, value: int) -> int:
            tried.append(value)
            if self.request.retries == 0:
                raise self.retry(countdown=0)
            return value + 1

        @made.task(name="look", bind=True)
        def look(self: Any, value: int) -> int:
            made.seen.append((type(self.request.message.chain), len(self.request.chain)))  # type: ignore[attr-defined]
            return value + 1

        @made.task(name="instead", bind=True)
        def instead(self: Any, value: int) -> None:
            self.replace(made.tasks["add"].s(value, 1))

        with OneWorker(made, "celery"):
            yield made


def steps(app: App, count: int) -> list[Any]:
    return [app.tasks["add"].s() for _ in range(count)]


def test_they_do_travel_unread(app: App) -> None:
    app.seen.clear()  # type: ignore[attr-defined]
    whole = chain(app.tasks["add"].si(0, 0), app.tasks["look"].s(), *steps(app, LONG))
    assert whole.delay().get(timeout=PATIENCE) == LONG + 1
    kind, count = app.seen[0]  # type: ignore[attr-defined]
    assert (kind, count) == (
        LaterSteps if app.settings.task_serializer == "json" else list,
        LONG,
    )


@pytest.mark.parametrize("name", ["again", "instead"])
def test_a_step_that_is_not_a_plain_one(app: App, name: str) -> None:
    middle = [*steps(app, 20), app.tasks[name].s(), *steps(app, LONG)]
    whole = chain(app.tasks["add"].si(0, 0), *middle)
    assert whole.delay().get(timeout=PATIENCE) == LONG + 21


def test_one_that_fails_in_the_middle_ends_all_that_follow(app: App) -> None:
    whole = chain(app.tasks["add"].si(0, 0), app.tasks["boom"].s(), *steps(app, LONG))
    sent: Any = whole.delay()
    with pytest.raises(ValueError, match="0"):
        sent.get(timeout=PATIENCE)
    ended = 0
    while sent is not None:
        sent.get(timeout=PATIENCE, propagate=False, follow_parents=False)
        ended += 1
        sent = sent.parent
    assert ended == LONG + 2


def test_one_that_ends_in_a_chord(app: App) -> None:
    add, total = app.tasks["add"], app.tasks["total"]
    whole = chain(add.si(0, 0), *steps(app, LONG), group(add.s(1), add.s(2)), total.s())
    assert whole.delay().get(timeout=PATIENCE) == 2 * LONG + 3
    inner = chain(add.si(0, 0), *steps(app, LONG))
    assert chord([inner, add.si(1, 1)], total.s()).delay().get(timeout=PATIENCE) == LONG + 2
