"""From where claims on PostgreSQL look."""

from __future__ import annotations

from typing import Any

import pytest

from umbel.drivers.postgres import frontier
from umbel.drivers.postgres.frontier import Frontier

START = {"levels": [32767], "places": [-1]}


class Moment:
    """A clock that is turned by hand, in the place of ``time``."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Moment:
    clock = Moment()
    monkeypatch.setattr(frontier, "time", clock)
    return clock


def row(place: int, *, queue: str = "q", priority: int = 0, took: float = 0.0) -> tuple[Any, ...]:
    return (place, queue, 0, b"", priority, place, took)


def test_while_it_is_cheap_everybody_looks_from_the_beginning(clock: Moment) -> None:
    here = Frontier()
    here.note([row(7, took=0.001)], whole=True, seconds=5.0)
    assert here.may_look()
    assert here.values(["q"], whole=False) == START


def test_a_dear_look_is_not_soon_repeated(clock: Moment) -> None:
    here = Frontier()
    here.note([row(7, took=0.102), row(8, took=0.102)], whole=True, seconds=0.0)
    assert not here.may_look()
    assert here.values(["q", "other"], whole=False) == {"levels": [0, 32767], "places": [8, -1]}
    assert here.values(["q"], whole=True) == START
    clock.now += 1.9
    assert not here.may_look()
    clock.now += 0.2
    assert here.may_look()


def test_a_look_that_found_nothing_is_as_dear_as_it_was_long(clock: Moment) -> None:
    here = Frontier()
    here.note([row(7, took=0.5)], whole=True, seconds=0.0)
    clock.now += 10.1
    here.note([], whole=True, seconds=0.052)
    assert not here.may_look()
    assert here.values(["q"], whole=False) == {"levels": [0], "places": [7]}
    assert here.look_at == float("inf")  # the whole queue was seen: one may sleep


def test_one_does_not_sleep_past_the_look_that_is_owed(clock: Moment) -> None:
    here = Frontier()
    here.note([row(7, took=0.052)], whole=True, seconds=0.0)
    here.note([], whole=False, seconds=0.001)
    assert here.look_at == pytest.approx(1001.0)
    clock.now += 1.1
    here.note([], whole=True, seconds=0.001)
    assert here.look_at == float("inf")


def test_each_queue_is_known_by_the_priority_that_most_have(clock: Moment) -> None:
    here = Frontier()
    rows = [row(9, priority=1), row(5, priority=4), row(6, priority=4), row(3, queue="other")]
    here.note([(*each[:-1], 0.3) for each in rows], whole=True, seconds=0.0)
    assert here.values(["other", "q"], whole=False) == {"levels": [0, 4], "places": [3, 6]}


def test_what_came_back_is_looked_for_at_once(clock: Moment) -> None:
    here = Frontier()
    here.note([row(7, took=1.0)], whole=True, seconds=0.0)
    assert not here.may_look()
    here.forget()
    assert here.may_look()
