"""What signals are to tell: noted only where somebody listens, and bounded."""

from __future__ import annotations

import pytest

from tests.unit.worker.values import delivery, plan
from umbel.errors import NotRegistered, TaskRevokedError, WorkerLostError
from umbel.model.assignment import Notice
from umbel.worker.notices import MOST, Notices

ALL = frozenset({"task_revoked", "task_unknown", "task_rejected"})


def notices(listened=ALL) -> Notices:
    return Notices(plan(listened=listened))


@pytest.mark.parametrize(
    ("error", "notice"),
    [
        (TaskRevokedError("revoked"), Notice("task_revoked", why="revoked")),
        (TaskRevokedError("expired"), Notice("task_revoked", expired=True, why="expired")),
        (NotRegistered("tasks.new"), Notice("task_unknown", why="tasks.new")),
    ],
)
def test_what_is_refused_is_told_by_the_signal_that_celery_has_for_it(error, notice):
    waiting = notices()
    waiting.refused(delivery(), error)
    assert [one.notice for one in waiting.waiting] == [notice]


def test_what_no_signal_tells_is_not_noted():
    waiting = notices()
    waiting.refused(delivery(), WorkerLostError("delivered 3 times"))
    assert not waiting.waiting


def test_where_nobody_listens_nothing_is_noted():
    waiting = notices(listened=frozenset({"task_unknown"}))
    waiting.refused(delivery(), TaskRevokedError("expired"))
    waiting.revoked(delivery(), 15)
    waiting.unreadable(delivery(), ValueError("no JSON"))
    assert not waiting.waiting


def test_they_go_out_as_there_is_room_under_ids_that_no_claim_has():
    waiting = notices()
    for signum in (None, 15, 2):
        waiting.revoked(delivery(), signum)
    assert waiting.assignments(0) == []
    first = waiting.assignments(2)
    rest = waiting.assignments(2)
    assert [one.obituary.signum for one in (*first, *rest)] == [None, 15, 2]
    assert [one.obituary.terminated for one in (*first, *rest)] == [False, True, True]
    assert [one.id for one in (*first, *rest)] == [-1, -2, -3]


def test_the_oldest_goes_where_nobody_takes_them():
    waiting = notices()
    for number in range(MOST + 1):
        waiting.revoked(delivery(), number)
    assert waiting.waiting[0].notice.signum == 1
    assert len(waiting.waiting) == MOST
