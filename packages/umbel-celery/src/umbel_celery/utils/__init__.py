"""``celery.utils``: new ids, and what small things programs import from here."""

from __future__ import annotations

from functools import cached_property

from umbel.app.send_plan import new_id as gen_unique_id
from umbel.app.send_plan import new_id as uuid

from . import log

__all__ = ["cached_property", "gen_unique_id", "log", "uuid"]
