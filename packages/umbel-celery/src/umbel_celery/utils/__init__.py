"""``celery.utils``: new ids, and the small things that programs import from here."""

from __future__ import annotations

from umbel.app.log_records import LEVEL_NUMBERS as LOG_LEVELS
from umbel.app.send_plan import new_id as gen_unique_id
from umbel.app.send_plan import new_id as uuid

from . import log
from .functional import chunks, memoize, noop
from .imports import (
    gen_task_name,
    get_cls_by_name,
    get_full_cls_name,
    import_from_cwd,
    instantiate,
)
from .nodenames import nodename, nodesplit, worker_direct
from .objects import cached_property

__all__ = [
    "LOG_LEVELS",
    "cached_property",
    "chunks",
    "gen_task_name",
    "gen_unique_id",
    "get_cls_by_name",
    "get_full_cls_name",
    "import_from_cwd",
    "instantiate",
    "log",
    "memoize",
    "nodename",
    "nodesplit",
    "noop",
    "uuid",
    "worker_direct",
]
