"""How much work a seat may hold."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbel.model.assignment import Assignment, Report
from umbel.model.delivery import Ack
from umbel.worker.pools.dealing import deal
from umbel.worker.pools.seats import Pace, Refill, Seat


@pytest.fixture
def seat():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield Seat(1, ours, slots=1, in_order=True)


def assignment(number: int, limit: float | None = None) -> Assignment:
    return Assignment(number, b"", "q", 1, False, None, limit)


def report(number: int, seconds: float = 0.0) -> Report:
    return Report(number, "SUCCESS", Ack(), (), (), seconds)


def test_nothing_is_sent_ahead_before_a_task_was_measured():
    assert Pace().depth(0.05, 64) == 1


@given(st.floats(1e-6, 10.0), st.integers(1, 1000))
def test_look_ahead_never_holds_more_than_its_seconds_of_work(seconds, cap):
    pace = Pace()
    pace.note(seconds)
    depth = pace.depth(0.05, cap)
    assert 1 <= depth <= max(1, cap)
    assert depth == 1 or depth * seconds <= 0.05 * 1.001


def test_one_long_task_ends_the_look_ahead_at_once():
    pace = Pace()
    for _ in range(100):
        pace.note(0.0001)
    assert pace.depth(0.05, 64) == 64
    pace.note(10.0)
    assert pace.depth(0.05, 64) == 1


def test_a_seat_that_is_stuck_takes_no_look_ahead(seat):
    seat.give([assignment(1)], now=0.0)
    assert seat.depth(64, now=0.05, patience=0.1) == 64
    assert seat.depth(64, now=0.2, patience=0.1) == 1


def test_a_finished_task_ends_being_stuck(seat):
    seat.give([assignment(1), assignment(2)], now=0.0)
    assert seat.stuck(0.2, 0.1)
    seat.finished(report(1), now=0.2)
    assert not seat.stuck(0.25, 0.1)


def test_what_runs_is_known_for_one_slot_where_it_has_a_limit(seat):
    seat.give([assignment(1), assignment(2, limit=5.0)], now=0.0)
    assert seat.begun_to_tell() is None
    seat.finished(report(1), now=0.1)
    assert seat.begun_to_tell() == 2


def test_a_batch_larger_than_the_room_is_dealt_all_the_same(seat):
    # Between room() and submit() a seat may have got stuck, and its room gone.
    batch = [assignment(number) for number in range(5)]
    assert deal(batch, [(seat, 1)]) == [(seat, batch)]
    seat.give([assignment(9)], now=0.0)
    assert deal(batch, [(seat, 1)]) == [(seat, batch)]
    assert deal(batch, []) == []


def test_large_messages_are_claimed_one_by_one():
    pace = Pace()
    pace.note(0.0001)
    pace.note_sizes([Assignment(1, b"x" * 2_000_000, "q", 1, False, None, None)])
    assert pace.depth(0.05, 256) == 1


def test_executors_that_die_in_their_start_are_tried_later_and_later_but_not_for_ever():
    refill = Refill()
    assert [refill.failed(0.0) for _ in range(9)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10]
    assert refill.wait(4.0) == 6.0
    refill.succeeded()
    assert refill.wait(4.0) == 0.0
