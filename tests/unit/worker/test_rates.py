"""How often a task may run on one worker: words into rates, and turns."""

from __future__ import annotations

import pytest

from umbel.errors import ImproperlyConfigured
from umbel.model.pace import LONGEST_REST
from umbel.worker.rates import Rates, runs_per_second


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (None, None),
        ("", None),
        (0, None),
        ("0/m", None),
        (5, 5.0),
        (0.5, 0.5),
        ("10", 10.0),
        ("10/s", 10.0),
        ("6/m", 0.1),
        (" 3.6 / h ", 0.001),
        ("60/M", 1.0),
    ],
)
def test_words_mean_rates(rate, expected):
    assert runs_per_second(rate) == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize("rate", ["10/d", "ten", "-1/s", float("nan"), -3, True, "1/s/m", [1]])
def test_what_is_no_rate_is_refused(rate):
    with pytest.raises(ImproperlyConfigured, match=r"limit of echo is .*say runs in a second"):
        runs_per_second(rate, "limit of echo")


def test_each_that_must_wait_has_a_turn_of_its_own():
    rates = Rates({"a": 10.0})
    assert rates.wait("a", 100.0) == 0.0
    waits = [rates.wait("a", 100.0) for _ in range(3)]
    assert waits == pytest.approx([0.1, 0.2, 0.3])
    assert rates.wait("b", 100.0) == 0.0


def test_coming_late_to_a_turn_does_not_lower_the_rate():
    rates = Rates({"a": 10.0})
    begun, now = 0, 0.0
    for turn in range(100):
        now = turn * 0.1 + 0.04 * (turn % 2)  # every other one is late
        begun += rates.wait("a", now) == 0.0
    assert begun == 100


def test_the_rate_is_kept_however_often_somebody_asks():
    rates = Rates({"a": 10.0})
    begun = sum(rates.wait("a", moment / 1000) == 0.0 for moment in range(10_000))
    assert 100 <= begun <= 102  # a millisecond early counts as in time


def test_what_was_not_run_in_a_pause_is_not_made_good():
    rates = Rates({"a": 10.0})
    assert rates.wait("a", 0.0) == 0.0
    assert [rates.wait("a", 50.0) == 0.0 for _ in range(2)] == [True, False]


def test_where_rests_are_rounded_up_what_comes_together_is_made_good():
    rates = Rates({"a": 10.0}, step=1.0)
    assert rates.wait("a", 0.0) == 0.0
    assert sum(rates.wait("a", 1.0) == 0.0 for _ in range(50)) == 10


def test_nobody_rests_longer_than_a_new_rate_may_be_missed():
    rates = Rates({"a": 1 / 3600})
    assert rates.wait("a", 0.0) == 0.0
    assert rates.wait("a", 0.0) == LONGEST_REST


def test_a_changed_rate_holds_at_once():
    rates = Rates({})
    assert not rates.buckets
    rates.change("a", 1.0)
    assert rates.buckets
    assert [rates.wait("a", 5.0), rates.wait("a", 5.0)] == [0.0, pytest.approx(1.0)]
    rates.change("a", 100.0)
    assert [rates.wait("a", 5.0), rates.wait("a", 5.0)] == [0.0, pytest.approx(0.01)]
    rates.change("a", None)
    assert not rates.buckets
    assert rates.wait("a", 5.0) == 0.0
