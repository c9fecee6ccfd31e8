from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from umbel.app import signals
from umbel.app.app import App
from umbel.app.discovery import TaskModuleFailed

from .conftest import new_app

Write = Callable[..., None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write modules into a folder that Python imports from; forget them afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def write(path: str, text: str = "") -> None:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


TASK = """
from umbel import shared_task

@shared_task
def work():
    return __name__
"""


def test_imports_and_include(write: Write) -> None:
    write("first_tasks.py", TASK)
    write("more/__init__.py")
    write("more/second_tasks.py", TASK)
    with new_app(imports=("first_tasks",), include=["more.second_tasks"]) as app:
        assert "first_tasks" not in sys.modules
        app.import_modules()
        assert {"first_tasks.work", "more.second_tasks.work"} <= set(app.tasks)


def test_autodiscovery_is_lazy(app: App, write: Write) -> None:
    write("shop/__init__.py")
    write("shop/tasks.py", TASK)
    write("shop/jobs.py", TASK)
    write("plain/__init__.py")
    write("single.py")
    app.autodiscover_tasks(["shop", "plain", "single"])
    app.autodiscover_tasks(lambda: ["shop"], related_name="jobs")
    assert "shop" not in sys.modules
    app.import_modules()
    assert {"shop.tasks.work", "shop.jobs.work"} <= set(app.tasks)
    assert "plain" in sys.modules


def test_autodiscovery_by_force_and_of_packages_themselves(app: App, write: Write) -> None:
    write("own/__init__.py", TASK)
    app.autodiscover_tasks("own", related_name=None, force=True)
    assert "own.work" in app.tasks


def test_without_django_there_is_nothing_to_discover(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.autodiscover_tasks()
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
    app.import_modules()
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "nothing")
    # Even where it is installed beside the tests.
    monkeypatch.setitem(sys.modules, "django", None)
    monkeypatch.setitem(sys.modules, "django.apps", None)
    app.import_modules()


def test_the_installed_apps_of_django(
    app: App, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("django/__init__.py", "ready = []\ndef setup(): ready.append(1)")
    write(
        "django/apps.py",
        """
        class Config:
            name = "blog"
        class apps:
            ready = False
            get_app_configs = staticmethod(lambda: [Config])
        """,
    )
    write("blog/__init__.py")
    write("blog/tasks.py", TASK)
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "settings")
    app.autodiscover_tasks()
    app.import_modules()
    assert "blog.tasks.work" in app.tasks
    assert sys.modules["django"].ready == [1]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("import no_such_dependency", "ModuleNotFoundError: No module named 'no_such_dependency'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def", "SyntaxError"),
    ],
)
def test_a_module_that_fails_is_named(write: Write, text: str, error: str) -> None:
    write("broken_tasks.py", text)
    with new_app(include=["broken_tasks"]) as app, pytest.raises(TaskModuleFailed) as caught:
        app.import_modules()
    assert f"The task module 'broken_tasks' (listed in 'include') cannot be imported: {error}" in (
        str(caught.value)
    )
    assert isinstance(caught.value, ImportError)
    assert caught.value.name == "broken_tasks"


def test_a_failing_related_module_is_not_taken_for_a_missing_one(app: App, write: Write) -> None:
    write("bad/__init__.py")
    write("bad/tasks.py", "import nowhere_to_be_found")
    app.autodiscover_tasks(["bad"])
    with pytest.raises(TaskModuleFailed, match=r"'bad.tasks' \(found by autodiscover_tasks\)"):
        app.import_modules()


def test_receivers_of_import_modules_must_not_fail(app: App) -> None:
    def receiver(**_: Any) -> None:
        raise KeyError("mine")

    signals.import_modules.connect(receiver)
    try:
        with pytest.raises(KeyError, match="mine"):
            app.import_modules()
    finally:
        signals.import_modules.disconnect(receiver)
