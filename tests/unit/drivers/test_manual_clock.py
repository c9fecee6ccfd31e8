"""The clock that tests turn."""

from __future__ import annotations

from datetime import timedelta

import pytest

from umbel.testing.manual_clock import START, ManualClock


def test_it_stands_still_until_it_is_moved() -> None:
    clock = ManualClock()
    assert clock.now() == clock.now() == START
    assert clock.monotonic() == 0.0
    clock.advance(1.5)
    assert clock.now() - START == timedelta(seconds=1.5)
    assert clock.monotonic() == 1.5


def test_a_jump_moves_the_calendar_only() -> None:
    clock = ManualClock()
    clock.jump(-3600.0)
    assert clock.now() - START == timedelta(hours=-1)
    assert clock.monotonic() == 0.0


def test_time_cannot_pass_backwards() -> None:
    with pytest.raises(ValueError, match="use jump"):
        ManualClock().advance(-1.0)
