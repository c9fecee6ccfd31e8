"""Limits fall due in the order of their times."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from umbel.worker.timelimits import Limit, TimeLimits


def test_soft_comes_before_hard():
    limits = TimeLimits()
    limits.began(7, now=100.0, soft=1.0, hard=2.0)
    assert limits.next_at() == 101.0
    assert limits.due(100.9) == []
    assert limits.due(101.0) == [Limit(101.0, 7, hard=False)]
    assert limits.due(102.5) == [Limit(102.0, 7, hard=True)]
    assert limits.next_at() is None


def test_a_task_without_limits_is_not_kept():
    limits = TimeLimits()
    limits.began(1, now=0.0, soft=None, hard=None)
    assert limits.next_at() is None


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100))), st.floats(0, 250))
def test_due_returns_everything_up_to_now_in_order_and_nothing_else(tasks, now):
    limits = TimeLimits()
    for entry_id, (began, hard) in enumerate(tasks):
        limits.began(entry_id, began, None, hard)
    due = limits.due(now)
    assert [each.at for each in due] == sorted(each.at for each in due)
    assert {each.entry_id for each in due} == {
        entry_id for entry_id, (began, hard) in enumerate(tasks) if began + hard <= now
    }


def test_what_has_ended_does_not_pile_up_behind_a_long_limit():
    limits = TimeLimits()
    for number in range(100_000):
        limits.began(number, 0.0, None, 3600.0)
        limits.ended(number)
    assert len(limits) < 100
    limits.began(-1, 0.0, None, 1.0)
    assert [each.entry_id for each in limits.due(3600.0)] == [-1]
