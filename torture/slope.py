"""Does it grow? The slope of a line through measurements, with its confidence. Pure.

Several worker starts are pooled: each has its own level, and all have one slope.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

Z95 = 1.96
VANISHED = 0.05


@dataclass(frozen=True, slots=True)
class Slope:
    """In units of y for each unit of x, with the half width of its 95 % interval."""

    value: float
    margin: float
    points: int

    @property
    def flat(self) -> bool:
        """Whether zero lies within the interval: nothing is seen to grow."""
        return self.value - self.margin <= 0.0


def fit(series: Iterable[Sequence[tuple[float, float]]]) -> Slope | None:
    """Return the common slope of these series of (x, y); None where there are too few points.

    Measurements taken one after the other resemble each other, and count for less than their
    number: the variance of the slope is multiplied by the time, in measurements, over which what
    the line leaves over forgets itself (one and twice the autocorrelations until they vanish).
    """
    centred: list[list[tuple[float, float]]] = []
    for one in series:
        if len(one) < 3:
            continue
        mean_x, mean_y = fmean(x for x, _ in one), fmean(y for _, y in one)
        centred.append([(x - mean_x, y - mean_y) for x, y in one])
    points = sum(map(len, centred))
    square = sum(x * x for one in centred for x, _ in one)
    free = points - len(centred) - 1
    if square == 0 or free < 3:
        return None
    value = sum(x * y for one in centred for x, y in one) / square
    left = [[y - value * x for x, y in one] for one in centred]
    variance = sum(each * each for one in left for each in one) / free
    margin = Z95 * math.sqrt(variance / square) * math.sqrt(_memory_of(left))
    return Slope(value, margin, points)


def _memory_of(left: Sequence[Sequence[float]]) -> float:
    power = sum(each * each for one in left for each in one)
    time = 1.0
    if power == 0:
        return time
    for lag in range(1, max(map(len, left)) // 3):
        together = sum(a * b for one in left for a, b in zip(one, one[lag:], strict=False))
        if together < VANISHED * power:
            break
        time += 2 * together / power
    return time


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which this share of them lies (nearest rank); nan of none."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, math.ceil(share * len(ordered)) - 1))]
