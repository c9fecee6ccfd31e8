"""The programs in examples/ do what their README says, started as a person starts them."""

from __future__ import annotations

import array
import email
import importlib
import json
import os
import shutil
import socket
import sys
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.processes import PATIENCE, Program

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


class Stage:
    """One example in a directory of its own, with what was started there."""

    def __init__(self, home: Path, name: str, stack: ExitStack, **variables: str) -> None:
        self.home = home / name
        shutil.copytree(EXAMPLES / name, self.home)
        self._stack = stack
        self.env = {**os.environ, "PYTHONUNBUFFERED": "1", **variables}

    def worker(self, *options: str) -> Program:
        words = [sys.executable, "-m", "umbel", "worker", "-A", "tasks", "-l", "info", "-c", "2"]
        worker = Program([*words, *options], cwd=self.home, env=self.env)
        self._stack.enter_context(worker)
        worker.wait_for("Connected to")
        return worker

    def run(self, *words: str) -> str:
        """Run a program of the example to its end; return what it printed."""
        with Program([sys.executable, *words], cwd=self.home, env=self.env) as program:
            assert program.wait() == 0, program.output
            return program.output


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    with ExitStack() as stack:
        yield lambda name, **variables: Stage(tmp_path, name, stack, **variables)


class Sink:
    """Takes mail, and keeps it."""

    def __init__(self) -> None:
        self.taken: list[Any] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.taken.append(email.message_from_bytes(envelope.content))
        return "250 taken"


def test_mail_reaches_a_server_that_was_away_at_first(stage: Callable[..., Stage]) -> None:
    controller_of = pytest.importorskip("aiosmtpd.controller").Controller
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    at = stage("mail", SMTP_HOST="127.0.0.1", SMTP_PORT=str(port))
    worker = at.worker()
    with Program([sys.executable, "welcome.py", "ann@example.com"], cwd=at.home, env=at.env) as one:
        worker.wait_for(r"tasks\.send_mail\[.*retry:")
        sink = Sink()
        controller = controller_of(sink, hostname="127.0.0.1", port=port)
        controller.start()
        try:
            assert one.wait() == 0, one.output
        finally:
            controller.stop()
    (mail,) = sink.taken
    assert (mail["To"], mail["Subject"]) == ("ann@example.com", "Welcome")
    assert f"sent {mail['Message-ID']}" in one.output


def test_audio_is_made_quieter_with_progress(stage: Callable[..., Stage]) -> None:
    at = stage("media")
    samples = array.array("h", [(-1) ** index * 1000 for index in range(60_000)])
    with wave.open(str(at.home / "in.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", "not compressed"))
        file.writeframes(samples.tobytes())
    at.worker()
    told = at.run("quieter.py", "in.wav", "out.wav")
    assert "done {'frames': 60000, 'loudest': 500}" in told
    assert " %" in told
    with wave.open(str(at.home / "out.wav"), "rb") as file:
        assert array.array("h", file.readframes(2)).tolist() == [500, -500]


def test_many_are_reached_at_the_rate_that_is_allowed(stage: Callable[..., Stage]) -> None:
    at = stage("push", PUSH_RATE="40/s")
    at.worker()
    began = time.monotonic()
    assert "reached 60" in at.run("announce.py", "60", "Doors open at eight")
    # Sixty at forty a second: the last begins a second and a half after the first.
    assert time.monotonic() - began > 1.2
    lines = (at.home / "pushed.txt").read_text(encoding="utf-8").splitlines()
    assert len(set(lines)) == 60


def test_the_figures_of_a_day_come_by_the_schedule(stage: Callable[..., Stage]) -> None:
    at = stage("statistics")
    at.worker("-B")
    umbel = ("-m", "umbel")
    told = at.run(*umbel, "call", "-A", "tasks", "tasks.count_sales", "day=2026-01-31", "--wait")
    assert "'tea': 7" in told
    assert json.loads((at.home / "sales-2026-01-31.json").read_text()) == {"cup": 1, "tea": 7}
    run_id = at.run(*umbel, "schedule", "run", "-A", "tasks", "sales of yesterday").split()[-1]
    assert at.run(*umbel, "result", "-A", "tasks", run_id).strip() == "{}"


def test_a_site_orders_reports_and_shows_them(
    stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fastapi")
    client_of = pytest.importorskip("starlette.testclient").TestClient
    at = stage("fastapi_site")
    at.worker()
    monkeypatch.syspath_prepend(at.home)
    monkeypatch.chdir(at.home)
    for name in ("tasks", "site_app"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    site = importlib.import_module("site_app")
    try:
        with client_of(site.site) as client:
            assert client.post("/reports", json={"title": "x", "pages": 0}).status_code == 422
            ordered = client.post("/reports", json={"title": "Sales", "pages": 2})
            assert ordered.status_code == 202
            deadline = time.monotonic() + PATIENCE
            while (seen := client.get(ordered.json()["look"]).json())["state"] != "done":
                assert time.monotonic() < deadline, seen
                time.sleep(0.02)
            assert seen["report"] == {"title": "Sales", "words": 500}
    finally:
        site.app.close()
        for name in ("tasks", "site_app"):
            sys.modules.pop(name, None)
