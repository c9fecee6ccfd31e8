"""``celery.contrib``: fixtures, workers in the test's process, abortable tasks, commands."""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import EntryPoint, EntryPoints

import click
import pytest

from tests.unit.app.conftest import new_app
from umbel.app import signals
from umbel.app.celery_app import Celery
from umbel.cli.main import main
from umbel.testing import Sandbox

pytest_plugins = ("pytester",)

PROJECT = """
import pytest

@pytest.fixture(scope="session")
def celery_config():
    return {"result_expires": 60}


def test_a_worker(celery_app, celery_worker):
    @celery_app.task
    def mul(x, y):
        return x * y

    celery_worker.reload()
    assert mul.delay(4, 4).get(timeout=10) == 16
    assert celery_app.conf.result_expires == 60


@pytest.mark.celery(result_expires=7)
def test_settings(celery_app, depends_on_current_app):
    from celery import current_app

    assert celery_app.conf.result_expires == 7
    assert current_app.conf.result_expires == 7


def test_a_session(celery_session_app, celery_session_worker):
    @celery_session_app.task
    def add(x, y):
        return x + y

    assert add.delay(4, 4).get(timeout=10) == 8
"""


def test_celerys_fixtures(pytester, monkeypatch):
    # Its shared task is forgotten with the test that imported it.
    monkeypatch.delitem(sys.modules, "celery.contrib.testing.tasks", raising=False)
    pytester.makeconftest('pytest_plugins = ("celery.contrib.pytest",)')
    pytester.makepyfile(PROJECT)
    ran = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    ran.assert_outcomes(passed=3)


def test_umbels_fixtures(pytester):
    pytester.makepyfile(
        """
        import pytest
        from umbel import Umbel

        pytest_plugins = ("umbel.testing.pytest_plugin",)
        app = Umbel("shop", broker="memory://", backend="memory://")

        @app.task
        def add(x, y):
            return x + y

        @pytest.fixture
        def umbel_app():
            return app

        def test_sandbox(umbel_sandbox):
            result = add.apply_async((1, 2), countdown=60)
            umbel_sandbox.advance(minutes=1)
            assert result.get(timeout=1) == 3

        def test_worker(umbel_worker):
            assert add.delay(3, 4).get(timeout=10) == 7
        """
    )
    ran = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    ran.assert_outcomes(passed=2)


def test_without_an_app_the_fixture_says_what_to_define(pytester):
    pytester.makepyfile(
        """
        pytest_plugins = ("umbel.testing.pytest_plugin",)

        def test_sandbox(umbel_sandbox):
            pass
        """
    )
    ran = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    ran.assert_outcomes(errors=1)
    ran.stdout.fnmatch_lines(["*Say which app is under test: define a fixture umbel_app*"])


def test_start_worker_asks_the_worker_and_tells_of_it(celery_app):
    worker = importlib.import_module("celery.contrib.testing.worker")
    told = []

    def hear(signal, sender, **_):
        told.append(signal.name)

    three = (signals.test_worker_starting, signals.test_worker_started, signals.test_worker_stopped)
    for each in three:
        each.connect(hear)
    with (
        pytest.raises(AssertionError, match=r"import celery\.contrib\.testing\.tasks, or give"),
        worker.start_worker(celery_app),
    ):
        pass
    celery_app.task(lambda: "pong", name="celery.ping")
    with worker.start_worker(celery_app):
        assert told[-1] == "test_worker_started"
    assert told[1:] == ["test_worker_starting", "test_worker_started", "test_worker_stopped"]


def test_an_abortable_task_looks_whether_it_is_to_end(celery_app):
    abortable = importlib.import_module("celery.contrib.abortable")
    seen = []

    @celery_app.task(bind=True, base=abortable.AbortableTask)
    def long(self):
        seen.append(self.is_aborted())
        self.AsyncResult(self.request.id).abort()
        seen.append(self.is_aborted())
        return "stopped"

    with Sandbox(celery_app) as box:
        result = long.delay()
        assert isinstance(result, abortable.AbortableAsyncResult)
        assert not result.is_aborted()
        box.drain()
        assert result.get(timeout=1) == "stopped"
        other = long.delay()
        other.abort()
        assert (other.state, other.is_aborted()) == ("ABORTED", True)
    assert seen == [False, True]


def test_a_trap_makes_the_use_of_the_current_app_an_error():
    testing = importlib.import_module("celery.contrib.testing.app")
    app = testing.TestApp(config={"result_expires": 5})
    assert (app.conf.broker_url, app.conf.result_expires) == ("memory://", 5)
    celery = importlib.import_module("celery")
    with (
        testing.setup_default_app(app, use_trap=True),
        pytest.raises(RuntimeError, match=r"The test uses the current app \(conf\)"),
    ):
        celery.current_app.conf  # noqa: B018 - the look itself is what is tested
    with testing.setup_default_app(app):
        assert celery.current_app.conf.result_expires == 5


def test_a_command_of_another_package_gets_the_app(monkeypatch, capsys):
    base = importlib.import_module("celery.bin.base")

    @click.command(cls=base.CeleryCommand)
    @click.option("--names", type=base.COMMA_SEPARATED_LIST)
    @click.option("-l", type=base.LOG_LEVEL, default="info")
    @click.pass_context
    @base.handle_preload_options
    def board(ctx, names, l):  # noqa: E741 - the option's name
        click.echo(f"{ctx.obj.app.main} {names} {l} {ctx.obj.quiet}")

    found = EntryPoint("board", "board.command:board", "celery.commands")
    monkeypatch.setattr(EntryPoint, "load", lambda self: board)
    monkeypatch.setattr(
        "importlib.metadata.entry_points",
        lambda group, name: EntryPoints([found]).select(group=group, name=name),
    )
    app = new_app("shop", cls=Celery)
    assert main(["board", "--names", "a,b"], app=app) == 0
    assert capsys.readouterr().out == "shop ['a', 'b'] 20 False\n"
    assert main(["bord"], app=app) == 2
    assert "There is no command 'bord'" in capsys.readouterr().err
