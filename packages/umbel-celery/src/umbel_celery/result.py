"""``celery.result``: handles on results."""

from __future__ import annotations

from umbel.app.eager_results import EagerResult
from umbel.app.group_results import GroupResult
from umbel.app.handles import AsyncResult
from umbel.app.joining import (
    allow_join_result,
    assert_will_not_block,
    denied_join_result,
    task_join_will_block,
)
from umbel.app.result_sets import ResultSet
from umbel.app.result_trees import ResultBase, result_from_tuple

__all__ = [
    "AsyncResult",
    "EagerResult",
    "GroupResult",
    "ResultBase",
    "ResultSet",
    "allow_join_result",
    "assert_will_not_block",
    "denied_join_result",
    "result_from_tuple",
    "task_join_will_block",
]
