from __future__ import annotations

import os
import pickle
import threading
from types import SimpleNamespace
from typing import Any

import pytest

import umbel
from umbel.app import current
from umbel.app.app import App
from umbel.app.celery_app import Celery
from umbel.app.listening import ResultListener
from umbel.app.task import Task
from umbel.errors import ImproperlyConfigured, NoResultBackend, UnknownSetting

from .conftest import new_app
from .mailbox import take_one


def test_public_names_are_all_there() -> None:
    for name in umbel.__all__:
        assert getattr(umbel, name) is not None
    assert set(umbel.__all__) <= set(dir(umbel))
    assert umbel.Umbel is App
    assert umbel.Task is Task
    with pytest.raises(AttributeError, match="module 'umbel' has no attribute 'Umble'"):
        _ = umbel.Umble  # type: ignore[attr-defined]  # the error under test


# --- configuration --------------------------------------------------------------------------------


def test_constructor_arguments_are_settings() -> None:
    app = App("x", broker="memory://a", backend="memory://b", include=["m"], task_acks_late=False)
    settings = app.settings
    assert (settings.broker_url, settings.result_backend) == ("memory://a", "memory://b")
    assert (list(settings.include), settings.task_acks_late) == (["m"], False)
    assert (app.main, settings.profile) == ("x", "umbel")
    assert App("y", changes={"task_default_queue": "q"}).settings.task_default_queue == "q"


def test_profiles() -> None:
    assert App().settings.task_acks_late is True
    assert Celery().settings.task_acks_late is False
    assert App(profile="celery").settings.profile == "celery"
    with pytest.raises(ImproperlyConfigured, match="no profile 'safe'"):
        App(profile="safe")


def test_unknown_settings_are_errors() -> None:
    with pytest.raises(UnknownSetting, match="task_acks_late"):
        App(task_ack_late=True)


def test_config_from_object_is_lazy_and_the_constructor_wins() -> None:
    app = App(broker="memory://constructor")
    app.config_from_object(
        SimpleNamespace(broker_url="memory://object", task_default_queue="from_object")
    )
    assert app.settings.broker_url == "memory://constructor"
    assert app.settings.task_default_queue == "from_object"
    app.config_from_object({"task_default_queue": "second"})
    assert app.settings.task_default_queue == "second"


def test_config_source_and_namespace() -> None:
    app = Celery(
        config_source=SimpleNamespace(CELERY_TASK_DEFAULT_QUEUE="spaced"), namespace="CELERY"
    )
    assert app.conf.task_default_queue == "spaced"


def test_config_from_envvar(monkeypatch: pytest.MonkeyPatch) -> None:
    app = App()
    with pytest.raises(ImproperlyConfigured, match="NO_SUCH_VARIABLE"):
        app.config_from_envvar("NO_SUCH_VARIABLE")
    assert app.config_from_envvar("NO_SUCH_VARIABLE", silent=True) is False
    monkeypatch.setenv("MY_CONFIG", "no_such_module_at_all")
    assert app.config_from_envvar("MY_CONFIG", silent=True) is True


def test_other_ways_to_configure() -> None:
    app = App()
    app.add_defaults({"task_default_queue": "low"})
    assert app.conf.task_default_queue == "low"
    app.config_from_cmdline(["task.default_queue=words"])
    assert app.conf.task_default_queue == "words"


def test_signals_of_configuration() -> None:
    app = App()
    heard: list[Any] = []
    app.on_configure.connect(lambda sender, **_: heard.append(("configure", sender)), weak=False)
    app.on_after_configure.connect(
        lambda sender, source, **_: heard.append(("after", source)), weak=False
    )
    assert heard == []
    _ = app.settings
    _ = app.settings
    assert heard == [("configure", app), ("after", app.conf)]


# --- connections ----------------------------------------------------------------------------------


def test_connections_are_made_when_used_and_again_when_urls_change(app: App) -> None:
    broker = app.broker
    assert app.broker is broker
    assert app.publishing is app.publishing
    assert isinstance(app.results, ResultListener)
    assert app.backend is app.result_backend
    app.conf.task_default_queue = "other"
    assert app.broker is broker  # the URL is the same
    app.conf.broker_url = "memory://somewhere-else"
    assert app.broker is not broker
    app.task(name="t")(lambda: None).delay()
    assert take_one(app, "other").message.task == "t"


def test_reading_and_writing_may_go_to_different_brokers() -> None:
    with new_app(broker_write_url="memory://written") as app:
        app.task(name="t")(lambda: None).delay()
        assert app.broker is not app.connections.sending_broker
        assert app.connections.sending_broker.stats(["celery"])[0].ready == 1
        assert app.broker.stats(["celery"])[0].ready == 0
        app.connections.sending_broker.purge("celery")


def test_no_result_backend() -> None:
    app = Celery(broker="memory://")
    assert not app.has_result_backend
    with pytest.raises(NoResultBackend, match="No result backend is configured"):
        _ = app.result_backend
    with pytest.raises(ImproperlyConfigured, match="result_backend is <class"):
        _ = Celery(result_backend=dict).result_backend


def test_a_wrong_broker_url_is_one_clear_sentence() -> None:
    with pytest.raises(ImproperlyConfigured, match="did you mean redis://"):
        _ = App(broker="rdis://localhost").broker


def test_close_and_use_again(app: App) -> None:
    app.close()
    app.task(name="t")(lambda: None).delay()
    take_one(app)
    with new_app() as other:
        assert current.current_or_none() is other
    assert current.current_or_none() is not other


# --- the current app ------------------------------------------------------------------------------


def test_the_last_app_is_the_current_one_in_every_thread() -> None:
    first = App("first")
    assert current.get_current_app() is first
    second = App("second", set_as_current=False)
    assert current.get_current_app() is first
    second.set_current()
    assert current.app_or_default() is second
    assert current.app_or_default(first) is first
    seen: list[Any] = []
    thread = threading.Thread(target=lambda: seen.append(current.get_current_app()))
    thread.start()
    thread.join()
    assert seen == [second]


def test_a_default_app_is_made_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    made = current.get_current_app()
    assert made.main == "default"
    assert current.get_current_app() is made
    current.make_default(None)
    monkeypatch.setenv("C_STRICT_APP", "1")
    with pytest.raises(RuntimeError, match="no current app, and C_STRICT_APP forbids making one"):
        current.get_current_app()
    own = App("own", set_as_current=False)
    own.set_default()
    assert current.get_current_app() is own


# --- the rest -------------------------------------------------------------------------------------


def test_results_by_id(app: App) -> None:
    result = app.AsyncResult("i", task_name="t")
    assert (result.id, result.task_name, result.app) == ("i", "t", app)
    assert len(app.ResultSet([result])) == 1
    assert app.GroupResult("g", [result]).id == "g"


def test_it_crosses_into_another_process(app: App) -> None:
    app.conf.task_default_queue = "q"
    twin = pickle.loads(pickle.dumps(app))
    assert (twin.main, twin.settings.task_default_queue) == ("x", "q")
    assert twin.broker is app.broker  # the same URL


def test_after_a_fork_the_app_tells() -> None:
    app = new_app()
    read, write = os.pipe()
    app.on_after_fork.connect(lambda sender, **_: os.write(write, sender.main.encode()), weak=False)
    pid = os.fork()
    if pid == 0:  # the child: it only reports through the pipe
        os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    assert os.read(read, 10) == b"x"
    os.close(read)


def test_bugreport_masks_secrets() -> None:
    report = Celery("shop", broker="redis://:hunter2@host/0").bugreport()
    assert "umbel:0." in report
    assert "shop (profile celery)" in report
    assert "results:disabled" in report
    assert "hunter2" not in report


def test_reprs() -> None:
    assert repr(App("x")) == "<Umbel x>"
    assert repr(Celery()) == "<Celery default>"


def test_subclasses_are_told_when_they_are_made() -> None:
    made: list[Any] = []

    class Own(App):
        def on_init(self) -> None:
            made.append(self.main)

    Own("x", fixups=[lambda app: made.append(type(app).__name__)])
    assert made == ["x", "Own"]
