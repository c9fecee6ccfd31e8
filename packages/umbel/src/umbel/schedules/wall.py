"""Wall clocks and the moments behind them: what happens when a zone sets its clocks.

A *wall* time is a naive datetime, as a clock on the wall of that zone shows it. Twice a year there
are walls that no moment has (a gap) and walls that two moments have (an overlap). The rule here is
one: a wall time stands for the **first** moment at which that clock shows it or, if it is skipped,
for the first moment after the gap.

Used by the schedules; pure.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

SECOND = timedelta(seconds=1)


def wall_of(moment: datetime, zone: tzinfo) -> datetime:
    """Return what a clock in ``zone`` shows at this moment, as a naive datetime."""
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def moment_of(wall: datetime, zone: tzinfo) -> datetime:
    """Return the first moment (aware, UTC) at which a clock in ``zone`` shows ``wall``.

    In a gap, the first moment after it.
    """
    early = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if wall_of(early, zone) == wall:
        return early
    # Skipped: fold=1 counts with the offset after the gap, which gives a moment before it.
    before = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    return next_change(before, early, zone) or early


def next_change(after: datetime, until: datetime, zone: tzinfo) -> datetime | None:
    """Return the moment in ``(after, until]`` at which the zone's offset changes, or None.

    Only the ends are compared, so the span must be short enough to hold one change at most. To the
    second: offsets change on whole ones.
    """
    low = after.astimezone(UTC).replace(microsecond=0)
    high = until.astimezone(UTC).replace(microsecond=0)
    offset = low.astimezone(zone).utcoffset()
    if high.astimezone(zone).utcoffset() == offset:
        return None
    while high - low > SECOND:
        middle = low + timedelta(seconds=(high - low).total_seconds() // 2)
        if middle.astimezone(zone).utcoffset() == offset:
            low = middle
        else:
            high = middle
    return high
