"""The arithmetic of the benchmarks."""

from __future__ import annotations

import pytest
from benchmarks.figures import (
    Sample,
    best,
    middle,
    percentile,
    rate,
    summary,
    times_better,
)
from hypothesis import given
from hypothesis import strategies as st

values = st.lists(st.floats(min_value=0, max_value=1e9), min_size=1)


def test_middle_leaves_out_start_up_and_stragglers() -> None:
    samples = [Sample(0.0, 0), Sample(3.0, 10), Sample(4.0, 60), Sample(5.0, 98), Sample(9.0, 100)]
    first, last = middle(samples, 100)
    assert (first, last) == (Sample(3.0, 10), Sample(5.0, 98))
    assert rate(first, last) == 44.0


def test_middle_takes_the_first_sample_at_the_point_itself() -> None:
    samples = [Sample(1.0, 4), Sample(2.0, 5), Sample(3.0, 95), Sample(4.0, 100)]
    assert middle(samples, 100) == (Sample(2.0, 5), Sample(3.0, 95))


def test_middle_rounds_the_points_up() -> None:
    # 5 % of 30 is 1.5: one task is not yet past it.
    samples = [Sample(1.0, 1), Sample(2.0, 2), Sample(3.0, 29)]
    assert middle(samples, 30) == (Sample(2.0, 2), Sample(3.0, 29))


def test_middle_of_an_unfinished_drain_says_how_far_it_came() -> None:
    with pytest.raises(ValueError, match="only 80 tasks were seen done, 95 are needed"):
        middle([Sample(1.0, 5), Sample(2.0, 80)], 100)


def test_middle_of_nothing() -> None:
    with pytest.raises(ValueError, match="only 0 tasks were seen done"):
        middle([], 100)


def test_middle_of_a_drain_quicker_than_the_sampling() -> None:
    with pytest.raises(ValueError, match="100 tasks were drained between two samples: queue more"):
        middle([Sample(1.0, 0), Sample(2.0, 100)], 100)


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, 1.0), (1, 1.0), (50, 2.0), (75, 3.0), (99, 4.0), (100, 4.0)]
)
def test_percentile_is_the_nearest_rank(percent: float, expected: float) -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], percent) == expected


def test_percentile_of_nothing() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


@given(values, st.floats(min_value=0, max_value=100))
def test_percentile_is_one_of_the_values_and_covers_its_share(
    given_values: list[float], percent: float
) -> None:
    found = percentile(given_values, percent)
    assert found in given_values
    covered = sum(value <= found for value in given_values)
    assert covered >= len(given_values) * percent / 100 - 1e-9


@given(values)
def test_summary_is_ordered(given_values: list[float]) -> None:
    found = summary(given_values)
    assert found.smallest <= found.median <= found.largest
    assert found.count == len(given_values)


def test_summary_of_nothing() -> None:
    with pytest.raises(ValueError, match="no values"):
        summary([])


def test_times_better_looks_at_the_direction() -> None:
    assert times_better(30.0, 10.0, larger_is_better=True) == 3.0
    assert times_better(10.0, 30.0, larger_is_better=False) == 3.0
    assert times_better(30.0, 10.0, larger_is_better=False) == pytest.approx(1 / 3)


@pytest.mark.parametrize(("value", "other"), [(0.0, 1.0), (1.0, 0.0), (-1.0, 1.0)])
def test_times_better_has_no_answer_without_two_figures(value: float, other: float) -> None:
    assert times_better(value, other, larger_is_better=True) is None


def test_best_looks_at_the_direction_and_takes_the_first_of_equals() -> None:
    figures = {"a": 2.0, "b": 5.0, "c": 5.0, "d": 2.0}
    assert best(figures, larger_is_better=True) == "b"
    assert best(figures, larger_is_better=False) == "a"
    assert best({}, larger_is_better=True) is None
