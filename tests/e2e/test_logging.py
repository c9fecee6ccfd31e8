"""What a worker logs: JSON, the task in every line about one, and no secret in any."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.processes import Program, RedisServer

SECRET = "hunter2"
TASKS = """
import logging
import os
import time
from typing import Annotated

from umbel import Secret, Umbel

app = Umbel("logged", broker={url!r}, backend={url!r})


@app.task
def spoken(token: str, pin: Annotated[str, Secret]) -> Annotated[str, Secret]:
    logging.getLogger("a.library").info("in it", extra={{"size": len(token + pin)}})
    return token


@app.task(acks_late=False, reject_on_worker_lost=False)
def killed(password: str) -> None:
    os.kill(os.getpid(), 9)
    time.sleep(60)
"""
CALLS = """
from logged import killed, spoken
said = spoken.delay("hunter2", pin="hunter2")
assert said.get(timeout=20) == "hunter2"
died = killed.delay("hunter2")
died.get(timeout=20, propagate=False)
print(said.id, died.id)
"""


@pytest.mark.redis
@pytest.mark.parametrize("redis_server", [SECRET], indirect=True)
def test_json_lines_of_a_task_name_it_and_no_line_tells_a_secret(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    (tmp_path / "logged.py").write_text(TASKS.format(url=redis_server.url(0)), encoding="utf-8")
    env = os.environ | {"PYTHONUNBUFFERED": "1"}
    words = [sys.executable, "-m", "umbel", "worker", "-A", "logged", "-l", "debug"]
    with Program([*words, "-E", "-q", "--log-format", "json"], cwd=tmp_path, env=env) as worker:
        worker.wait_for("Connected to")
        with Program([sys.executable, "-c", CALLS], cwd=tmp_path, env=env) as caller:
            assert caller.wait() == 0, caller.output
        said, died = caller.output.split()
        assert worker.end() == 0
    lines: list[dict[str, Any]] = [json.loads(one) for one in worker.output.splitlines()]
    assert SECRET not in worker.output

    mine = [one for one in lines if one.get("task_id") == said]
    assert {one["task_name"] for one in mine} == {"logged.spoken"}
    assert {one["logger"] for one in mine} == {"umbel.worker", "a.library", "umbel.worker.task"}
    assert [one["size"] for one in mine if one["message"] == "in it"] == [2 * len(SECRET)]

    lost = [one for one in lines if one.get("task_id") == died and one["level"] == "ERROR"]
    assert [one["task_name"] for one in lost] == ["logged.killed"]
