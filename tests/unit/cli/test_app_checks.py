"""The doctor's look at a program's settings and packages."""

from __future__ import annotations

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
    app.conf.update(task_protocol=1, broker_heartbeat=3)
    (_, found) = check_settings(app)
    assert found.level == "warn"
    assert found.detail.endswith("in this version of Umbel: broker_heartbeat, task_protocol")


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


def test_the_main_trap(app, tmp_path, monkeypatch):
    (tmp_path / "trap_tasks.py").write_text("if __name__ == '__main__':\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    module = pytest.importorskip("trap_tasks")

    def one():
        """A task of that module."""

    one.__module__ = module.__name__
    app.task(one)
    (found,) = check_main_trap(app)
    assert found.level == "warn"
    assert "trap_tasks defines tasks" in found.detail
    assert "Umbel('trap_tasks')" in found.advice
    app.main = "trap_tasks"
    assert [one.level for one in check_main_trap(app)] == ["ok"]
