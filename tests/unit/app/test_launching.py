from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from umbel.app.app import App
from umbel.app.launching import command_words, worker_words


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--loglevel=info"], ["worker", "--loglevel=info"]),
        ([], ["worker"]),
        (["worker", "--loglevel=INFO"], ["worker", "--loglevel=INFO"]),
        (["celery", "worker", "-l", "info"], ["worker", "-l", "info"]),
        (["-A", "proj", "worker", "-l", "info"], ["-A", "proj", "worker", "-l", "info"]),
        (["-n", "worker"], ["worker", "-n", "worker"]),
        (["-n", "worker", "worker"], ["-n", "worker", "worker"]),
    ],
)
def test_the_word_worker_may_be_there_or_not(argv: list[str], words: list[str]) -> None:
    assert worker_words(argv) == words


def test_without_words_the_programs_own_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["run.py"])
    assert worker_words(None) == ["worker"]
    monkeypatch.setattr(sys, "argv", ["run.py", "-l", "debug"])
    assert worker_words(None) == ["worker", "-l", "debug"]
    assert command_words(None) == ["-l", "debug"]
    assert command_words(["umbel", "status"]) == ["status"]


def test_the_app_goes_to_the_command_line(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    def main(words: list[str], *, app: App) -> int:
        calls.append((words, app))
        return 3 if "bad" in words else 0

    module = ModuleType("umbel.cli.main")
    module.main = main  # type: ignore[attr-defined]  # made here
    monkeypatch.setitem(sys.modules, "umbel.cli.main", module)
    app.worker_main(["-l", "info"])
    app.start(["status"])
    assert calls == [(["worker", "-l", "info"], app), (["status"], app)]
    with pytest.raises(SystemExit) as caught:
        app.worker_main(["bad"])
    assert caught.value.code == 3
