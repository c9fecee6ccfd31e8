"""Workers in the background: ``--detach`` and ``umbel multi``."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PATIENCE = 30.0
TASKS = """
from umbel import Umbel

app = Umbel("back", broker="sqlite:///back.sqlite3", backend="sqlite:///back.sqlite3")


@app.task
def add(x: int, y: int) -> int:
    return x + y
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "back.py").write_text(TASKS, encoding="utf-8")
    yield tmp_path
    for file in tmp_path.glob("*.pid"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, ValueError):
            os.kill(int(file.read_text()), 9)


def umbel(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "umbel", *words],
        cwd=home,
        capture_output=True,
        text=True,
        timeout=PATIENCE * 2,
        check=False,
    )


def pid_of(home: Path, name: str) -> int:
    return int((home / f"{name}.pid").read_text())


def test_nodes_are_started_restarted_and_stopped(home: Path) -> None:
    words = ("-A", "back", "-l", "info", "-c", "1", "-Q:b", "other")
    started = umbel(home, "multi", "start", "a", "b", *words)
    assert started.returncode == 0, started.stdout + started.stderr
    assert started.stdout.count(": OK") == 2
    called = umbel(home, "call", "-A", "back", "back.add", "2", "3", "--wait")
    assert called.stdout.splitlines()[-1] == "5"
    again = umbel(home, "multi", "start", "a", *words[:-2])
    assert again.returncode == 1
    assert "is running already" in again.stdout

    before = pid_of(home, "a")
    restarted = umbel(home, "multi", "restart", "a", *words[:-2])
    assert restarted.returncode == 0, restarted.stdout + restarted.stderr
    assert pid_of(home, "a") != before
    status = umbel(home, "status", "-A", "back").stdout
    assert "a@" in status
    assert "b@" in status

    stopped = umbel(home, "multi", "stopwait", "a", "b")
    assert stopped.returncode == 0
    assert stopped.stdout.count(": ended") == 2
    assert list(home.glob("*.pid")) == []
    assert "Task back.add" in (home / "a.log").read_text()
    assert "is not running" in umbel(home, "multi", "stop", "a").stdout


def test_a_node_that_cannot_begin_says_why(home: Path) -> None:
    told = umbel(home, "multi", "start", "a", "-A", "nowhere")
    assert told.returncode == 1
    assert "a@" in told.stdout
    assert "FAILED" in told.stdout
    assert "nowhere" in told.stderr


def test_kill_ends_it_at_once(home: Path) -> None:
    assert umbel(home, "multi", "start", "a", "-A", "back", "-c", "1").returncode == 0
    pid = pid_of(home, "a")
    assert f"SIGKILL -> {pid}" in umbel(home, "multi", "kill", "a").stdout
    (home / "a.pid").unlink()
    deadline = time.monotonic() + PATIENCE
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)


def test_a_worker_detaches_itself(home: Path) -> None:
    told = umbel(home, "worker", "-A", "back", "-D", "-c", "1", "--pidfile", "w.pid", "-f", "w.log")
    assert told.returncode == 0, told.stderr
    pid = pid_of(home, "w")
    assert os.getsid(pid) != os.getsid(0)
    os.kill(pid, 15)


def test_what_would_be_started_is_shown(home: Path) -> None:
    shown = umbel(home, "multi", "show", "2", "-A", "back", "-c:2", "9").stdout.splitlines()
    assert "worker --detach -n celery1@" in shown[0]
    assert shown[1].endswith(".log")
    assert "-c 9" in shown[1]
    assert umbel(home, "multi", "expand", "/var/%n", "2").stdout == "/var/celery1\n/var/celery2\n"
    assert umbel(home, "multi", "names", "x@y").stdout == "x@y\n"
    assert "-c 9" in umbel(home, "multi", "get", "celery2", "2", "-c:2", "9").stdout


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("fly", "a"), "There is no verb 'fly'; there are start, stop"),
        (("start",), "Which nodes?"),
        (("stop", "a", "-SOON"), "-SOON is no signal"),
        (("start", "a", "-c:7", "1"), "-c:7 is for node '7'"),
    ],
)
def test_wrong_words(home: Path, words: tuple[str, ...], why: str) -> None:
    told = umbel(home, "multi", *words)
    assert told.returncode != 0
    assert why in told.stderr
