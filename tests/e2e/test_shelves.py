"""What workers set aside and what rests, looked at and moved by the commands, on both stores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.processes import RedisServer
from tests.e2e.worker_desk import PATIENCE, Desk
from umbel.errors import TaskRevokedError
from umbel.testing.conformance.station import eventually

pytestmark = pytest.mark.slow


@pytest.fixture(params=["sqlite", "redis"])
def open_desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    opened: list[Desk] = []
    url = f"sqlite:///{tmp_path}/store.sqlite3"
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        url = server.url(0)

    def make(**settings: Any) -> Desk:
        opened.append(Desk(tmp_path, url, **settings))
        return opened[-1]

    yield make
    for desk in opened:
        desk.close()


def umbel(desk: Desk, *words: str) -> tuple[int, str, str]:
    told = subprocess.run(
        [sys.executable, "-m", "umbel", *words, "-A", "desk_tasks"],
        cwd=desk.home,
        env=os.environ | {"NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    return told.returncode, told.stdout, told.stderr


def listed(desk: Desk, what: str, *words: str) -> list[dict[str, Any]]:
    code, out, err = umbel(desk, what, "list", "--json", *words)
    assert code == 0, err
    return [json.loads(line) for line in out.splitlines()]


def test_a_failed_task_is_kept_shown_and_sent_again(open_desk):
    desk = open_desk(task_quarantine_failures=True)
    failed = desk.tasks.fail.delay("no such luck")
    with desk.worker("-c", "1") as worker:
        with pytest.raises(ValueError, match="no such luck"):
            failed.get(timeout=PATIENCE)
        (one,) = listed(desk, "quarantine", "--task", "desk_tasks.*", "--error", "ValueError")
        assert (one["id"], one["reason"], one["deliveries"]) == (failed.id, "failed", 1)
        assert one["worker"].startswith("celery@")
        code, out, _ = umbel(desk, "quarantine", "show", failed.id)
        assert code == 0
        assert "raise ValueError(text)" in out
        assert worker.end() == 0
    assert umbel(desk, "quarantine", "retry", failed.id) == (0, "Sent 1 task.\n", "")
    assert desk.app.AsyncResult(failed.id).state == "PENDING"
    assert desk.stats() == (1, 0, 0)
    with desk.worker("-c", "1") as worker:
        with pytest.raises(ValueError, match="no such luck"):
            desk.app.AsyncResult(failed.id).get(timeout=PATIENCE)
        assert worker.end() == 0
    code, out, _ = umbel(desk, "status", "--queues")
    assert "1 set aside" in out
    code, out, _ = umbel(desk, "quarantine", "discard", "--all")
    assert code == 1
    assert "Drop 1 task for good?" in out
    assert umbel(desk, "quarantine", "discard", "--all", "-y")[:2] == (0, "Dropped 1 task.\n")
    assert listed(desk, "quarantine") == []


def test_what_was_acknowledged_early_and_cannot_be_opened_is_kept(open_desk):
    desk = open_desk(task_acks_late=False, accept_content=["json"])
    with desk.worker("-c", "1") as worker:
        bad = desk.app.send_task("desk_tasks.add", (1, 2), serializer="yaml")
        with pytest.raises(Exception, match="yaml"):
            bad.get(timeout=PATIENCE)
        (one,) = eventually(lambda: listed(desk, "quarantine"))
        assert (one["id"], one["reason"], one["error"]) == (
            bad.id,
            "undecodable",
            "ContentDisallowed",
        )
        assert worker.end() == 0


def test_a_task_nobody_knows_is_seen_to_wait_and_why(open_desk):
    desk = open_desk()
    unknown = desk.app.send_task("desk_tasks.of_tomorrow")
    with desk.worker("-c", "1") as worker:
        worker.wait_for("waits: no task named")
        (one,) = eventually(lambda: listed(desk, "delayed", "--task", "*.of_tomorrow"))
        assert (one["id"], one["kind"]) == (unknown.id, "parked")
        assert "no task named 'desk_tasks.of_tomorrow' is registered" in one["reason"]
        assert worker.end() == 0


def test_delayed_tasks_are_cancelled_and_given_another_time(open_desk):
    desk = open_desk()
    late, gone = (desk.tasks.add.apply_async((n, n), countdown=3600) for n in (1, 2))
    assert {one["id"] for one in listed(desk, "delayed")} == {late.id, gone.id}
    code, out, err = umbel(desk, "delayed", "list", "--limit", "1")
    assert (code, len(out.splitlines())) == (0, 1)
    assert "go on with --skip 1" in err
    assert umbel(desk, "delayed", "cancel", gone.id) == (0, "Cancelled 1 task.\n", "")
    assert umbel(desk, "delayed", "cancel", gone.id)[0] == 1
    with pytest.raises(TaskRevokedError):
        gone.get(timeout=PATIENCE)
    with desk.worker("-c", "1") as worker:
        told = umbel(desk, "delayed", "reschedule", "--task", "*.add", "--countdown", "0", "-y")
        assert told == (0, "Rescheduled 1 task.\n", "")
        assert late.get(timeout=PATIENCE) == 2
        assert worker.end() == 0
    assert desk.stats() == (0, 0, 0)


@pytest.mark.parametrize("open_desk", ["sqlite"], indirect=True)
def test_what_is_not_meant_is_refused_in_a_sentence(open_desk):
    desk = open_desk()
    for words, said in (
        (("quarantine", "retry"), "Say which: ids, a filter such as --task, or --all."),
        (("quarantine", "discard", "x", "--all"), "Give ids or filters, not both."),
        (("delayed", "cancel", "--all", "--task", "a"), "--all means all there is"),
        (("delayed", "reschedule", "x"), "Give --eta or --countdown, one of them."),
        (("delayed", "list", "--due-before", "soon"), "'soon' is no time such as 2030"),
        (("quarantine", "list", "--older-than", "3x"), "'3x' is no span of time such as 90"),
    ):
        code, _, err = umbel(desk, *words)
        assert (code, said in err) == (2, True), err
    code, _, err = umbel(desk, "quarantine", "show", "nobody")
    assert (code, err) == (1, "Error: No task 'nobody' is in quarantine in celery.\n")
