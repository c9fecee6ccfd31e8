"""Backoff: powers of two, capped, with full jitter."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from umbel.model.retrying import Backoff


def test_without_jitter_the_delays_double():
    backoff = Backoff(factor=3.0, maximum=20.0, jitter=False)
    assert [backoff.delay(n, lambda: 0.5) for n in range(5)] == [3.0, 6.0, 12.0, 20.0, 20.0]


@given(st.integers(0, 10_000), st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1))
def test_a_delay_lies_between_zero_and_the_cap(retries, factor, maximum, luck):
    backoff = Backoff(factor=factor, maximum=maximum)
    assert 0.0 <= backoff.delay(retries, lambda: luck) <= maximum
