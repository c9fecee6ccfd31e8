"""Rules that say when: pure values, without a clock, an app or a store.

``crontab``, ``interval``, ``solar`` and ``once`` make them. The scheduler asks them for the next
moment; nothing here knows whether a task was ever sent.
"""

from umbel.schedules.cron_fields import ParseException, crontab_parser
from umbel.schedules.crontab import crontab
from umbel.schedules.interval import interval
from umbel.schedules.kinds import maybe_schedule, to_schedule
from umbel.schedules.once import once
from umbel.schedules.rule import BaseSchedule, Schedule, schedstate
from umbel.schedules.solar import solar

__all__ = [
    "BaseSchedule",
    "ParseException",
    "Schedule",
    "crontab",
    "crontab_parser",
    "interval",
    "maybe_schedule",
    "once",
    "schedstate",
    "solar",
    "to_schedule",
]
