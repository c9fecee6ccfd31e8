"""``umbel explain``: what it prints, and how it ends."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest

from umbel.app.app import App
from umbel.cli.main import main


@pytest.fixture
def app() -> Any:
    url = f"memory://{uuid4().hex}"
    with App("shop", broker=url, backend=url) as made:
        made.send_task("shop.add", task_id="t1", countdown=60)
        yield made


def test_the_first_line_is_the_answer(app: App, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "t1"], app=app) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("It is due at ")
    assert second.strip().startswith("No worker consumes queue celery: no worker is alive.")


def test_json_has_every_finding(app: App, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "t1", "--json"], app=app) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["check"] for one in told["findings"]] == ["resting", "consumed"]
    assert told["verdict"] == told["findings"][0]["says"]
    assert told["findings"][0]["facts"]["queue"] == "celery"


def test_status_1_when_nothing_is_known(app: App, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "t2", "-t", "0.05"], app=app) == 1
    assert "Nothing is known of t2" in capsys.readouterr().out
