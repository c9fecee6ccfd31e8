"""When to try again: backoff, jitter, cap. Pure."""

from __future__ import annotations

from collections.abc import Callable

import msgspec


class Backoff(msgspec.Struct, frozen=True, kw_only=True):
    """Exponential delays in seconds: ``factor * 2 ** retries``, capped, with full jitter.

    The shape is Celery's documented ``retry_backoff``: 1, 2, 4, 8, ... times the factor.
    """

    factor: float = 1.0
    maximum: float = 600.0
    jitter: bool = True

    def delay(self, retries: int, random: Callable[[], float]) -> float:
        """Return the seconds to wait before attempt ``retries + 1``.

        ``random`` gives a float in [0, 1); it is only asked when jitter is on.
        """
        # 2 ** 1024 overflows a float, and any cap is reached long before the 64th retry.
        ceiling = min(self.maximum, self.factor * 2.0 ** min(retries, 64))
        ceiling = max(0.0, ceiling)
        return ceiling * random() if self.jitter else ceiling
