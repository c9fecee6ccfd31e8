"""Groups and headers so wide that they are sent in pieces: as if they were sent whole."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.one_worker import OneWorker
from umbel.app.app import App
from umbel.errors import ChordError
from umbel.model.join import OpenJoin
from umbel.workflows.canvas import chord, group

PATIENCE = 20
WIDE, PIECE, SIZE = 30, 20, 90


class Tasks:
    def __init__(self, app: App) -> None:
        self.told: list[str] = []
        self.add = app.task(name="add")(lambda x, y: x + y)
        self.total = app.task(name="total")(lambda numbers, plus=0: sum(numbers) + plus)
        self.tell = app.task(name="tell")(lambda: self.told.append("linked"))
        self.boom = app.task(name="boom")(self._boom)

    def _boom(self) -> None:
        raise ValueError("boom")


@pytest.fixture(scope="module")
def app() -> Iterator[App]:
    url = f"memory://{uuid.uuid4().hex}"
    with App("wide", broker=url, backend=url) as made, OneWorker(made, "celery"):
        yield made


@pytest.fixture(scope="module")
def tasks(app: App) -> Tasks:
    return Tasks(app)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("umbel.workflows.groups.WIDE", WIDE)
    monkeypatch.setattr("umbel.workflows.chords.WIDE", WIDE)
    monkeypatch.setattr("umbel.app.wide_workflows.PIECE", PIECE)


def many(tasks: Tasks) -> list[Any]:
    return [tasks.add.s(number, 1) for number in range(SIZE)]


EXPECTED = list(range(1, SIZE + 1))


def test_a_group(tasks: Tasks) -> None:
    result = group(many(tasks)).apply_async()
    assert len(result) == SIZE
    assert result.get(timeout=PATIENCE) == EXPECTED


def test_a_group_from_a_coroutine(tasks: Tasks) -> None:
    async def send() -> Any:
        sent: Any = await group(many(tasks)).aapply_async()
        return await sent

    assert asyncio.run(send()) == EXPECTED


def test_groups_within_it_are_flat_and_partial_arguments_go_to_each(tasks: Tasks) -> None:
    inner = group(tasks.add.s(number) for number in range(10))
    members = [inner, *(tasks.add.s(number) for number in range(SIZE)), inner.clone()]
    result = group(members).apply_async((100,))
    places = [*range(10), *range(SIZE), *range(10)]
    assert result.get(timeout=PATIENCE) == [100 + place for place in places]


def test_a_chord(tasks: Tasks) -> None:
    result = chord(many(tasks), tasks.total.s(plus=1)).apply_async()
    assert len(result.parent) == SIZE
    assert result.get(timeout=PATIENCE) == sum(EXPECTED) + 1


def test_a_chord_made_by_the_operator_whose_header_has_groups_and_chains(tasks: Tasks) -> None:
    header = [group(many(tasks)), tasks.add.s(1, 1) | tasks.add.s(1)]
    whole = group(header) | tasks.total.s() | tasks.add.s(7)
    assert whole.apply_async().get(timeout=PATIENCE) == sum(EXPECTED) + 3 + 7


def test_its_join_is_opened_once_and_with_the_number_of_all(
    app: App, tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[OpenJoin] = []
    join = app.result_backend.join

    def noting(steps: Any) -> Any:
        opened.extend(step for step in steps if isinstance(step, OpenJoin))
        return join(steps)

    monkeypatch.setattr(app.result_backend, "join", noting)
    header = [*many(tasks), tasks.add.chunks([(1, 1), (2, 2), (3, 3)], 2)]
    result = chord(header, tasks.add.si(1, 1)).apply_async()
    assert result.get(timeout=PATIENCE) == 2
    assert [(one.join_id, one.size) for one in opened] == [(result.parent.id, SIZE + 2)]


def test_a_member_that_fails(tasks: Tasks) -> None:
    result = chord([*many(tasks), tasks.boom.si()], tasks.total.s()).apply_async()
    with pytest.raises(ChordError, match="boom"):
        result.get(timeout=PATIENCE, follow_parents=False)


def test_what_is_linked_to_a_group_is_sent_once(tasks: Tasks) -> None:
    whole = group(many(tasks))
    whole.link(tasks.tell.si())
    tasks.told.clear()
    assert whole.apply_async().get(timeout=PATIENCE) == EXPECTED
    tasks.add.delay(0, 0).get(timeout=PATIENCE)
    assert tasks.told == ["linked"]
    # It is what it was: sent again, it does the same.
    assert whole.apply_async().get(timeout=PATIENCE) == EXPECTED
    tasks.add.delay(0, 0).get(timeout=PATIENCE)
    assert tasks.told == ["linked", "linked"]


def test_a_frozen_one_keeps_its_ids(tasks: Tasks) -> None:
    whole = group(many(tasks))
    ids = [one.id for one in whole.freeze().results]  # type: ignore[attr-defined]
    assert [one.id for one in whole.apply_async().results] == ids  # type: ignore[attr-defined]


def test_options_go_to_every_member(tasks: Tasks) -> None:
    result = group(many(tasks)).apply_async(queue="elsewhere")
    stats = tasks.add.app.broker.stats(["elsewhere"])
    assert [one.ready for one in stats] == [len(result)]


def test_results_of_many_are_walked_without_being_remembered(
    tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("umbel.app.result_sets.MANY", SIZE - 1)
    result: Any = group(many(tasks)).apply_async()
    assert sorted(result.iterate(timeout=PATIENCE)) == EXPECTED
    assert all(one._cache is None for one in result.results)
    assert result.get(timeout=PATIENCE) == EXPECTED  # the store has them still

    async def walk() -> list[int]:
        return [value async for value in group(many(tasks)).apply_async()]  # type: ignore[attr-defined]

    assert sorted(asyncio.run(walk())) == EXPECTED


def test_results_of_few_are_remembered(tasks: Tasks) -> None:
    result: Any = group(tasks.add.s(number, 1) for number in range(5)).apply_async()
    assert sorted(result.iterate(timeout=PATIENCE)) == [1, 2, 3, 4, 5]
    assert all(one._cache is not None for one in result.results)
