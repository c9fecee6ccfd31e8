"""Does the torture see what grows, and not what only trembles?"""

import math
import random

from torture.slope import fit, quantile


def noise(seed: int, count: int, *, growth: float = 0.0, level: float = 0.0):
    dice = random.Random(seed)
    return [(float(x), level + growth * x + dice.gauss(0, 1)) for x in range(count)]


def test_what_grows_is_seen():
    slope = fit([noise(1, 200, growth=0.1)])
    assert slope is not None
    assert abs(slope.value - 0.1) < slope.margin
    assert not slope.flat


def test_what_trembles_is_flat():
    assert sum(bool((slope := fit([noise(n, 200)])) and slope.flat) for n in range(40)) >= 36


def test_each_series_has_a_level_of_its_own():
    slope = fit([noise(1, 50, level=0.0), noise(2, 50, level=1000.0)])
    assert slope is not None
    assert slope.flat


def test_neighbours_that_resemble_each_other_count_for_less():
    dice = random.Random(3)
    walk, at = [], 0.0
    for x in range(300):
        at = 0.95 * at + dice.gauss(0, 1)
        walk.append((float(x), at))
    shuffled = [y for _, y in walk]
    dice.shuffle(shuffled)
    near = fit([walk])
    far = fit([list(zip((x for x, _ in walk), shuffled, strict=True))])
    assert near is not None
    assert far is not None
    assert near.margin > 3 * far.margin


def test_too_few_points_say_nothing():
    assert fit([[(0.0, 1.0), (1.0, 2.0)]]) is None
    assert fit([[(1.0, 1.0)] * 10]) is None


def test_quantile():
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert quantile([float(n) for n in range(1, 101)], 0.99) == 99.0
    assert math.isnan(quantile([], 0.5))
