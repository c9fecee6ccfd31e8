"""``umbel shell``, and commands of other packages."""

from __future__ import annotations

import io
import sys
from importlib import metadata
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import click
import pytest

from umbel.app.app import App
from umbel.cli.main import main
from umbel.cli.shell_command import names_of


@pytest.fixture
def app() -> Any:
    url = f"memory://{uuid4().hex}"
    with App("shop", broker=url, backend=url) as made:

        @made.task(name="shop.add")
        def add(x: int) -> int:
            return x

        yield made


def test_the_app_and_its_tasks_are_at_hand(app: App) -> None:
    names = names_of(app, with_tasks=True)
    assert names["app"] is names["celery"] is app
    assert names["add"](2) == 2
    assert names["chain"](names["add"].s(1), names["add"].s())
    assert "add" not in names_of(app, with_tasks=False)


def test_pythons_own_shell(
    app: App, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("print(add(40) + 2)\n"))
    assert main(["shell", "--python"], app=app, prog="umbel") == 0
    told = capsys.readouterr()
    assert "42" in told.out
    assert "At hand: add, app, celery" in told.err


def test_a_shell_that_is_not_installed_is_named(
    app: App, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "bpython", None)
    assert main(["shell", "-B"], app=app, prog="umbel") == 1
    assert "bpython is not installed: pip install bpython" in capsys.readouterr().err


def test_a_command_of_another_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    def greet() -> None:
        click.echo("hello from elsewhere")

    point = SimpleNamespace(load=lambda: greet)

    def found(*, group: str, name: str) -> list[Any]:
        return [point] if (group, name) == ("celery.commands", "greet") else []

    monkeypatch.setattr(metadata, "entry_points", found)
    assert main(["greet"], prog="umbel") == 0
    assert "hello from elsewhere" in capsys.readouterr().out
    assert main(["greed"], prog="umbel") == 2
