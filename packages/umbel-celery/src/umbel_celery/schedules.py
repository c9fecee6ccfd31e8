"""``celery.schedules``: when periodic tasks run."""

from __future__ import annotations

from umbel.schedules.cron_fields import ParseException, crontab_parser
from umbel.schedules.crontab import crontab
from umbel.schedules.interval import interval as schedule
from umbel.schedules.kinds import maybe_schedule
from umbel.schedules.rule import BaseSchedule, schedstate
from umbel.schedules.solar import solar

__all__ = [
    "BaseSchedule",
    "ParseException",
    "crontab",
    "crontab_parser",
    "maybe_schedule",
    "schedstate",
    "schedule",
    "solar",
]
