"""Events that wait to be sent: in order, bounded, and put back when the broker was away."""

from __future__ import annotations

import pytest

from umbel.clock import LogicalClock
from umbel.monitoring import emitter as room
from umbel.monitoring.emitter import Emitter


@pytest.fixture
def emitter(monkeypatch):
    monkeypatch.setattr(room, "MOST_KEPT", 4)
    return Emitter("w@here", 1, LogicalClock(), lambda: 5.0)


def numbers(events):
    return [event["number"] for event in events]


def add(emitter, *which):
    for number in which:
        emitter.add("task-started", {"number": number})


def test_taken_in_the_order_they_were_added(emitter):
    add(emitter, 1, 2, 3)
    assert numbers(emitter.take(2)) == [1, 2]
    assert numbers(emitter.take(2)) == [3]
    assert emitter.take(2) == []


def test_the_oldest_go_when_too_many_wait_and_are_counted(emitter):
    add(emitter, 1, 2, 3, 4, 5, 6)
    assert emitter.dropped == 2
    assert numbers(emitter.take(9)) == [3, 4, 5, 6]


def test_what_could_not_be_sent_comes_first_again(emitter):
    add(emitter, 1, 2)
    taken = emitter.take(2)
    add(emitter, 3)
    emitter.put_back(taken)
    assert numbers(emitter.take(9)) == [1, 2, 3]


def test_put_back_drops_the_oldest_where_there_is_no_room(emitter):
    add(emitter, 1, 2)
    taken = emitter.take(2)
    add(emitter, 3, 4, 5)
    emitter.put_back(taken)
    assert numbers(emitter.take(9)) == [2, 3, 4, 5]
    assert emitter.dropped == 1


def test_the_clock_runs_ahead_of_every_other_it_hears_of():
    clock = LogicalClock()
    assert clock.forward() == 1
    clock.adjust(40)
    assert clock.forward() == 42
    clock.adjust(3)
    assert clock.forward() == 44
    clock.adjust("nonsense")
    assert clock.value == 44
