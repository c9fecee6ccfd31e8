"""The doctor's look at a program's settings and packages."""

from __future__ import annotations

import importlib
import subprocess
import sys
import warnings

import pytest

from umbel.app.app import App
from umbel.cli import app_checks
from umbel.cli.app_checks import (
    check_extras,
    check_main_trap,
    check_settings,
    check_tasks,
    told_by_warnings,
)
from umbel.errors import DuplicateTaskNameWarning


@pytest.fixture
def app():
    with App("shop", broker="memory://checks", set_as_current=False) as made:
        yield made


@pytest.fixture
def bare_installation(monkeypatch):
    """An installation without any extra: no module but ours is there."""
    monkeypatch.setattr(app_checks, "find_spec", lambda name: None)


@pytest.mark.parametrize(
    ("name", "value", "extra"),
    [
        ("task_serializer", "yaml", "yaml"),
        ("accept_content", ["json", "msgpack"], "msgpack"),
        ("worker_pool", "gevent", "gevent"),
        ("worker_pool", "eventlet", "eventlet"),
        ("task_compression", "brotli", "brotli"),
        ("result_compression", "zstd", "zstd"),
    ],
)
def test_missing_packages_and_the_extra_that_brings_them(
    app, bare_installation, name, value, extra
):
    app.conf[name] = value
    (found,) = check_extras(app)
    assert found.level == "fail"
    assert found.advice == f"pip install 'umbel[{extra}]'"


def test_nothing_is_needed_by_default(app, bare_installation):
    assert [one.level for one in check_extras(app)] == ["ok"]


def test_sound_settings(app):
    assert [one.level for one in check_settings(app)] == ["ok"]


def test_settings_without_effect_are_named(app):
    app.conf.update(task_protocol=1, broker_pool_limit=3)
    (_, found) = check_settings(app)
    assert found.level == "warn"
    assert found.detail.endswith("in this version of Umbel: broker_pool_limit, task_protocol")


def test_tasks_are_listed_up_to_eight(app):
    for number in range(10):
        app.task(lambda: None, name=f"shop.t{number}")
    (found,) = check_tasks(app)
    assert found.level == "ok"
    assert found.detail.startswith("10: shop.t0, shop.t1")
    assert found.detail.endswith("shop.t7 and 2 more")


def test_warnings_become_findings():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.warn(DuplicateTaskNameWarning("twice"), stacklevel=1)
        warnings.warn("careful", stacklevel=1)
    first, second = told_by_warnings(caught)
    assert (first.level, first.subject) == ("warn", "task names")
    assert first.detail.startswith("twice (")
    assert second.subject == "UserWarning"


BOTH = """
from umbel import Umbel

app = Umbel({name}set_as_current=False, broker="memory://trap")


@app.task
def one():
    pass


if __name__ == "__main__":
    print(one.name)
"""


def module_of(tmp_path, monkeypatch, module, name=None):
    """Write a module that defines a task and is also run; return its app and its path."""
    path = tmp_path.joinpath(*module.split(".")).with_suffix(".py")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(BOTH.format(name=f"{name!r}, " if name else ""))
    monkeypatch.syspath_prepend(str(tmp_path))
    return importlib.import_module(module).app, path


def name_when_run(path, *words):
    """Return the name under which the program itself sends the task."""
    command = [sys.executable, *(words or [str(path)])]
    ran = subprocess.run(command, cwd=path.parents[1], check=True, capture_output=True, text=True)
    return ran.stdout.strip()


def test_a_file_without_a_name_for_its_app_may_be_run(tmp_path, monkeypatch):
    app, path = module_of(tmp_path, monkeypatch, "trap_plain")
    assert name_when_run(path) in app.tasks
    assert [one.level for one in check_main_trap(app)] == ["ok"]


def test_an_app_with_another_name_than_the_file_that_is_run(tmp_path, monkeypatch):
    app, path = module_of(tmp_path, monkeypatch, "trap_named", "shop")
    assert name_when_run(path) == "shop.one"
    (found,) = check_main_trap(app)
    assert found.level == "warn"
    assert "trap_named defines tasks" in found.detail
    assert "(python trap_named.py) it sends shop.…" in found.detail
    assert found.advice.endswith("name the app after the module: Umbel('trap_named').")


def test_an_app_named_after_its_module(tmp_path, monkeypatch):
    app, _ = module_of(tmp_path, monkeypatch, "trap_same", "trap_same")
    assert [one.level for one in check_main_trap(app)] == ["ok"]


def test_a_file_of_a_package_that_is_run_by_its_path(tmp_path, monkeypatch):
    app, path = module_of(tmp_path, monkeypatch, "trap_package.jobs")
    assert name_when_run(path) == "jobs.one"
    assert list(one for one in app.tasks if "one" in one) == ["trap_package.jobs.one"]
    (found,) = check_main_trap(app)
    assert "(python trap_package/jobs.py) it sends jobs.…" in found.detail
    assert found.advice.endswith("run it by its name: python -m trap_package.jobs.")
    assert name_when_run(path, "-m", "trap_package.jobs") == "trap_package.jobs.one"
