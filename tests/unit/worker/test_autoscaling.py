"""How many slots a demand asks for, and a pool that follows it."""

from __future__ import annotations

import pytest

from umbel.errors import UsageError
from umbel.model.assignment import Report
from umbel.model.delivery import Ack
from umbel.testing.manual_clock import ManualClock
from umbel.worker.autoscaling import Autoscaler, Bounds, Demand, checked_bounds, wanted

TEN_TO_TWO = Bounds(10, 2)


@pytest.mark.parametrize(
    ("held", "backlog", "mean", "target", "expected"),
    [
        (0, 0, None, None, 2),
        (2, 3, None, None, 5),
        (2, 300, None, None, 10),
        (2, 300, None, 60.0, 10),  # nobody knows yet how long a run takes
        (2, 300, 1.0, 60.0, 6),  # 300 seconds of work in 60: five slots, and what runs
        (2, 3, 0.01, 60.0, 2),
        (0, 100_000, 1.0, 60.0, 10),
    ],
)
def test_what_a_demand_asks_for(held, backlog, mean, target, expected):
    assert wanted(Demand(held, backlog, mean), TEN_TO_TWO, target) == expected


def test_bounds_in_either_order():
    assert checked_bounds(3, 10) == checked_bounds("10", "3") == Bounds(10, 3)
    assert checked_bounds(4, None) == Bounds(4, 1)
    assert checked_bounds(4, 0) == Bounds(4, 1)
    for wrong in ((0, 0), ("x", 1), (-1, 3), (None, None)):
        with pytest.raises(UsageError, match="say the most and the fewest"):
            checked_bounds(*wrong)


class Desk:
    """A pool that only counts."""

    def __init__(self, *, processes=2, slots=1, target=None):
        self.clock = ManualClock()
        self.size, self.held, self.backlog, self.told = processes, 0, 0, []
        self.scaler = Autoscaler(
            self,
            Bounds(10, 2),
            processes=processes,
            slots=slots,
            target=target,
            keepalive=30.0,
            clock=self.clock,
            held=lambda: self.held,
            backlog=lambda: self.backlog,
            resized=self.told.append,
        )

    def resize(self, change):
        self.size += change
        return self.size

    def look(self, seconds):
        for _ in range(seconds):
            self.clock.advance(1.0)
            self.scaler.look()


def test_it_grows_at_once_and_shrinks_when_fewer_were_enough_for_long():
    desk = Desk()
    desk.held, desk.backlog = 2, 4
    desk.look(1)
    assert (desk.size, desk.told) == (6, [6])
    desk.held, desk.backlog = 3, 0
    desk.look(29)
    assert desk.size == 6
    desk.look(1)
    assert desk.size == 6  # six were wanted when this time began
    desk.look(30)
    assert (desk.size, desk.told) == (3, [6, 3])


def test_a_short_rush_keeps_what_it_needed():
    desk = Desk()
    desk.backlog = 10
    desk.look(1)
    for _ in range(5):
        desk.backlog = 8
        desk.look(1)
        desk.backlog = 0
        desk.look(29)
    assert desk.size == 8


def test_processes_of_many_slots_are_counted_whole():
    desk = Desk(processes=1, slots=4)
    desk.backlog = 5
    desk.look(1)
    assert (desk.size, desk.told) == (2, [8])


def test_how_long_runs_take_is_learned():
    desk = Desk(target=10.0)
    desk.held, desk.backlog = 2, 50
    for _ in range(60):
        desk.scaler.settled(None, Report(1, "SUCCESS", Ack(), (), (), 1.0))
    desk.look(1)
    assert desk.size == 6


def test_other_bounds_hold_at_once():
    desk = Desk()
    assert desk.scaler.change(5, 4) == Bounds(5, 4)
    assert desk.size == 4
    assert desk.scaler.change(3, None) == Bounds(4, 3)
    assert desk.size == 4
    assert desk.scaler.change(None, 1) == Bounds(4, 1)
    with pytest.raises(UsageError):
        desk.scaler.change("many", None)
