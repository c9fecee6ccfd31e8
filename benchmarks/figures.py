"""Arithmetic of the benchmarks: rates, percentiles, ratios. Pure: values in, values out.

Called by ``scenarios`` and ``report``; tested in ``tests/unit/benchmarks``.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

import msgspec


class Sample(msgspec.Struct, frozen=True):
    """What was seen at one moment of a drain."""

    moment: float
    done: int


class Summary(msgspec.Struct, frozen=True):
    """One figure over the repeats."""

    median: float
    smallest: float
    largest: float
    count: int


def middle(samples: Sequence[Sample], total: int) -> tuple[Sample, Sample]:
    """Return the first sample at or past 5 % of ``total`` and the first at or past 95 %.

    Start-up and the last stragglers lie outside. Raises ValueError when the samples do not reach
    95 % or both points fall on one sample: the drain was too short for the sampling.
    """
    first = _first_past(samples, math.ceil(total * 0.05))
    last = _first_past(samples, math.ceil(total * 0.95))
    if last.moment <= first.moment:
        raise ValueError(f"{total} tasks were drained between two samples: queue more of them")
    return first, last


def _first_past(samples: Sequence[Sample], wanted: int) -> Sample:
    for sample in samples:
        if sample.done >= wanted:
            return sample
    reached = samples[-1].done if samples else 0
    raise ValueError(f"only {reached} tasks were seen done, {wanted} are needed")


def rate(first: Sample, last: Sample) -> float:
    """Return tasks per second between two samples."""
    return (last.done - first.done) / (last.moment - first.moment)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that ``percent`` of all values do not exceed (nearest rank)."""
    if not values:
        raise ValueError("no values to take a percentile of")
    ordered = sorted(values)
    rank = max(1, math.ceil(len(ordered) * percent / 100))
    return ordered[rank - 1]


def summary(values: Iterable[float]) -> Summary:
    """Return median and extremes. Raises ValueError when there is nothing."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values to summarise")
    return Summary(statistics.median(ordered), ordered[0], ordered[-1], len(ordered))


def times_better(value: float, other: float, *, larger_is_better: bool) -> float | None:
    """Return how many times better ``value`` is than ``other``; None where one of them is zero."""
    if value <= 0 or other <= 0:
        return None
    return value / other if larger_is_better else other / value


def best(figures: Mapping[str, float], *, larger_is_better: bool) -> str | None:
    """Return the name with the best figure, the first of equals; None of none."""
    if not figures:
        return None
    pick = max if larger_is_better else min
    return pick(figures, key=lambda name: figures[name])
