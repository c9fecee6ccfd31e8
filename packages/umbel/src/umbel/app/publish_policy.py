"""When a failed publish is tried again. Pure; used by ``publishing`` and by the calling options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """When to repeat a failed publish. The names and defaults are Celery's ``retry_policy``.

    Durations are seconds. ``max_retries`` None: until the deadline. ``retry_errors``: only these
    exceptions are worth another try; None means every ``OperationalError``.
    """

    max_retries: int | None = 3
    interval_start: float = 0.0
    interval_step: float = 0.2
    interval_max: float = 1.0
    retry_errors: tuple[type[BaseException], ...] | None = None

    @classmethod
    def from_mapping(cls, policy: Mapping[str, Any] | None) -> RetryPolicy:
        """Read a policy as callers and settings give it; names nobody knows are a TypeError."""
        return cls(**policy) if policy else cls()

    def pause(self, failures: int) -> float:
        """Return the seconds to wait after this many failures (at least one)."""
        return min(self.interval_max, self.interval_start + self.interval_step * (failures - 1))

    def allows(self, failures: int, error: BaseException) -> bool:
        """Tell whether one more try follows the failure with this number."""
        if self.max_retries is not None and failures > self.max_retries:
            return False
        return self.retry_errors is None or isinstance(error, self.retry_errors)


NO_RETRY = RetryPolicy(max_retries=0)
