"""How often a task may run on this worker (``rate_limit``), as in Celery: each worker for itself.

Called by ``intake`` for each claim and by ``answering`` when a command changes a rate. A task that
must wait goes back to rest in the store until its turn, so nothing waits in front of other tasks.
Limits shared by all workers are another thing: ``umbel.limits``.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Mapping

import msgspec

from umbel.errors import ImproperlyConfigured
from umbel.model.pace import Pace

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_FORM = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(?:/\s*([A-Za-z]+)\s*)?")


def runs_per_second(rate: object, what: str = "rate_limit") -> float | None:
    """Return what ``10/s``, ``10/m``, ``10/h`` or a number of runs a second means; None: no limit.

    Raises ImproperlyConfigured, naming ``what``.
    """
    if rate is None or rate == "":
        return None
    if isinstance(rate, bool):
        number, unit = math.nan, None
    elif isinstance(rate, int | float):
        number, unit = float(rate), None
    else:
        found = _FORM.fullmatch(str(rate))
        number, unit = (float(found[1]), found[2]) if found else (math.nan, None)
    if math.isfinite(number) and number >= 0 and (unit is None or unit.lower() in _SECONDS):
        return number / _SECONDS[unit.lower() if unit else "s"] or None
    raise ImproperlyConfigured(
        f"{what} is {rate!r}: say runs in a second, a minute or an hour, such as '10/s', '100/m' or"
        " '3.5/h'"
    )


class _Bucket(msgspec.Struct):
    """Of one task."""

    interval: float
    pace: Pace


class Rates:
    """One bucket a task, of one token. Any thread."""

    def __init__(self, rates: Mapping[str, float | None], *, step: float = 0.0) -> None:
        """``rates``: runs a second by the name of the task. ``step``: seconds to whose multiple the
        broker rounds a rest up: so much may be made good at once."""
        self._lock = threading.Lock()
        self._step = step
        self.buckets: dict[str, _Bucket] = {}
        """Empty where nothing has a rate: for a look without the lock."""
        for name, rate in rates.items():
            self.change(name, rate)

    def change(self, name: str, rate: float | None) -> None:
        """Let this task run so often a second from now on; None: as often as it comes."""
        with self._lock:
            if rate is None:
                self.buckets.pop(name, None)
            else:
                self.buckets[name] = _Bucket(1.0 / rate, Pace())

    def wait(self, name: str, now: float) -> float:
        """Take a run of this task, and return 0; or return in how many seconds to ask again.

        ``now``: monotonic seconds. Each that must wait is given a turn of its own, one interval
        after the one before it.
        """
        bucket = self.buckets.get(name)
        if bucket is None:
            return 0.0
        with self._lock:
            return bucket.pace.wait(bucket.interval, now, step=self._step)
