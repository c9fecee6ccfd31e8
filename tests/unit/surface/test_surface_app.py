"""The app: constructor, configuration, attributes and methods, row by row."""

from __future__ import annotations

import logging
import pickle
import sys
import types
from typing import Any, cast

import pytest

import umbel
from tests.unit.app.conftest import new_app
from tests.unit.app.mailbox import take, take_one, waiting
from tests.unit.worker.remote_desk import RemoteDesk
from umbel.app import current
from umbel.app.app import App
from umbel.app.celery_app import Celery
from umbel.app.familiar import _ABSENT
from umbel.app.handles import AsyncResult
from umbel.app.registry import TaskRegistry
from umbel.app.shared import current_app, current_task, shared_task
from umbel.app.task import Task
from umbel.errors import (
    BrokerUnavailable,
    DuplicateTaskNameWarning,
    ImproperlyConfigured,
    NoResultBackend,
    NotRegistered,
    UnknownSetting,
    UsageError,
)


def module(monkeypatch: pytest.MonkeyPatch, name: str, **names: Any) -> str:
    made = types.ModuleType(name)
    vars(made).update(names)
    monkeypatch.setitem(sys.modules, name, made)
    return name


# --- constructor ----------------------------------------------------------------------------------


def test_main_names_tasks_of_the_script_that_is_run() -> None:
    with new_app("shop") as app:
        assert app.main == "shop"
        assert app.gen_task_name("f", "__main__") == "shop.f"
        assert app.gen_task_name("f", "package.tasks") == "package.tasks.f"


def test_broker_and_backend_win_over_the_config_source(monkeypatch: pytest.MonkeyPatch) -> None:
    name = module(monkeypatch, "a_config", broker_url="memory://c", result_backend="memory://c")
    with App("x", broker="memory://a", backend="memory://b", config_source=name) as app:
        assert (app.conf.broker_url, app.conf.result_backend) == ("memory://a", "memory://b")


def test_the_environment_wins_over_broker_and_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "memory://env")
    monkeypatch.setenv("CELERY_RESULT_BACKEND", "memory://envresults")
    with App("x", broker="memory://a", backend="memory://b") as app:
        assert app.conf.broker_url == "memory://env"
        assert app.conf.result_backend == "memory://envresults"


def test_no_broker_is_rabbitmq_for_celery_and_a_file_for_umbel() -> None:
    with Celery("x") as app:
        assert app.conf.broker_url is app.conf.result_backend is None
        assert type(app.broker).__name__ == "AmqpBroker"
    with App("x") as app:
        assert app.conf.broker_url == app.conf.result_backend == "sqlite:///umbel.sqlite3"


def test_include(monkeypatch: pytest.MonkeyPatch) -> None:
    with new_app(include=["a.b"]) as app:
        assert app.conf.include == ["a.b"]


def test_config_source_and_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    name = module(monkeypatch, "a_config", SHOP_TASK_DEFAULT_QUEUE="q", OTHER=1)
    with new_app(config_source=name, namespace="SHOP") as app:
        assert app.conf.task_default_queue == "q"


class OwnTask(Task[..., Any]):
    def greet(self) -> str:
        return f"I am {self.name}"


@pytest.mark.parametrize("given", [OwnTask, f"{__name__}:OwnTask"])
def test_task_cls(given: Any) -> None:
    with new_app(task_cls=given) as app:
        assert cast("Any", app.task(name="t")(print)).greet() == "I am t"
        assert issubclass(app.Task, OwnTask)


def test_set_as_current() -> None:
    with new_app("first") as first, new_app("second", set_as_current=False):
        assert current_app.main == "first" == first.main


def test_autofinalize_off_asks_for_finalize() -> None:
    with new_app(autofinalize=False) as app:
        with pytest.raises(RuntimeError, match=r"call app\.finalize\(\) once all tasks"):
            _ = app.tasks
        app.finalize()
        assert "celery.map" in app.tasks


def test_strict_typing_off_checks_no_arguments() -> None:
    with new_app(strict_typing=False) as app:

        @app.task(name="t")
        def one(x: int) -> None: ...

        one.delay(1, 2, 3)  # type: ignore[call-arg]  # what is not checked here
        assert take_one(app).message.args == [1, 2, 3]


def test_changes_and_keywords_are_settings() -> None:
    with new_app(changes={"task_serializer": "pickle"}, result_expires=60) as app:
        assert (app.conf.task_serializer, app.settings.result_expires) == ("pickle", 60)


def test_tasks_is_a_registry_or_its_class() -> None:
    registry = TaskRegistry()
    with new_app(tasks=registry) as app, new_app(tasks=TaskRegistry) as other:
        assert app.tasks is registry
        assert type(other.tasks) is TaskRegistry


def test_fixups_are_called_with_the_app() -> None:
    seen: list[App] = []
    with new_app(fixups=[seen.append]) as app:
        assert seen == [app]


def test_a_setting_that_does_not_exist_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownSetting, match="task_serializer"):
        _ = new_app(task_serialiser="json").settings


# --- configuration --------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["name", "attribute", "class", "object", "mapping"])
def test_config_from_object(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Config:
        task_default_queue = "q"

    module(monkeypatch, "a_config", task_default_queue="q", Config=Config)
    given: dict[str, Any] = {
        "name": "a_config",
        "attribute": "a_config:Config",
        "class": Config,
        "object": Config(),
        "mapping": {"task_default_queue": "q"},
    }
    with new_app() as app:
        app.config_from_object(given[how])
        assert app.conf.task_default_queue == "q"


def test_config_from_object_is_lazy_and_may_be_silent() -> None:
    with new_app() as app:
        app.config_from_object("there_is_no_such_module")
        with pytest.raises(ImproperlyConfigured, match="there_is_no_such_module"):
            _ = app.conf.task_default_queue
    with new_app() as app:
        app.config_from_object("there_is_no_such_module", silent=True)
        assert app.conf.task_default_queue == "celery"


def test_config_from_envvar(monkeypatch: pytest.MonkeyPatch) -> None:
    module(monkeypatch, "a_config", task_default_queue="q")
    with new_app() as app:
        with pytest.raises(ImproperlyConfigured, match="NO_SUCH_VARIABLE"):
            app.config_from_envvar("NO_SUCH_VARIABLE")
        monkeypatch.setenv("SHOP_CONFIG", "a_config")
        app.config_from_envvar("SHOP_CONFIG")
        assert app.conf.task_default_queue == "q"


def test_config_from_cmdline() -> None:
    with new_app() as app:
        app.config_from_cmdline(["worker.concurrency=7"], namespace="worker")
        assert app.conf.worker_concurrency == 7


def test_add_defaults_is_what_everything_wins_over() -> None:
    with new_app(task_default_queue="mine") as app:
        app.add_defaults(lambda: {"task_default_queue": "low", "task_default_priority": 3})
        assert (app.conf.task_default_queue, app.conf.task_default_priority) == ("mine", 3)


def test_conf_is_written_and_read_by_attribute_item_and_method() -> None:
    with new_app() as app:
        app.conf.task_default_queue = "a"
        assert app.conf["task_default_queue"] == "a"
        app.conf["task_default_queue"] = "b"
        app.conf.update(result_expires=5)
        assert (app.conf.task_default_queue, app.conf.get("result_expires")) == ("b", 5)
        assert app.conf.get("no_such_thing_at_all", 1) == 1
        with pytest.raises(AttributeError):
            _ = app.conf.no_such_thing_at_all


def test_old_names_of_settings_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with new_app(cls=Celery) as app:
        app.config_from_object({"CELERY_DEFAULT_QUEUE": "q", "CELERYD_CONCURRENCY": 3})
        assert (app.conf.task_default_queue, app.conf.worker_concurrency) == ("q", 3)
        assert app.conf["CELERY_DEFAULT_QUEUE"] == app.conf.CELERY_DEFAULT_QUEUE == "q"


def test_mixing_old_and_new_names_is_refused_with_hints() -> None:
    with new_app(cls=Celery) as app:
        app.config_from_object({"CELERY_DEFAULT_QUEUE": "q", "worker_concurrency": 3})
        with pytest.raises(ImproperlyConfigured, match=r"task_default_queue|CELERYD_CONCURRENCY"):
            _ = app.settings


def test_namespace_celery_reads_prefixed_names_and_custom_ones() -> None:
    with new_app(cls=Celery) as app:
        app.config_from_object(
            {"CELERY_TASK_ALWAYS_EAGER": True, "CELERY_MY_X": 7, "DEBUG": True}, namespace="CELERY"
        )
        assert app.conf.task_always_eager is True
        assert app.conf.my_x == 7


def test_values_set_before_the_source_is_read_win_over_it() -> None:
    with new_app() as app:
        app.config_from_object({"task_default_queue": "source"})
        app.conf.task_default_queue = "mine"
        assert app.conf.task_default_queue == "mine"


def test_timezone() -> None:
    with new_app(timezone="Europe/Vienna") as app:
        assert str(app.timezone) == "Europe/Vienna"
        assert app.now().tzinfo is app.timezone
        assert not app.uses_utc_timezone()
    with new_app() as app:
        assert app.uses_utc_timezone()


# --- attributes and methods -----------------------------------------------------------------------


def test_app_task_makes_a_task_bare_and_with_options(app: App) -> None:
    @app.task
    def bare(x: int) -> int:
        return x

    @app.task(name="named", max_retries=7)
    def with_options(x: int) -> int:
        return x

    assert bare.name == f"{__name__}.bare"
    assert app.tasks["named"].max_retries == 7
    assert (bare(1), with_options(2)) == (1, 2)


def test_autodiscover_tasks_waits_for_import_modules(
    app: App, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / "shelf_pkg").mkdir()
    (tmp_path / "shelf_pkg" / "__init__.py").write_text("")
    (tmp_path / "shelf_pkg" / "tasks.py").write_text("from umbel import shared_task\n")
    monkeypatch.syspath_prepend(tmp_path)
    app.autodiscover_tasks(["shelf_pkg"])
    assert "shelf_pkg.tasks" not in sys.modules
    app.loader.import_default_modules()
    assert "shelf_pkg.tasks" in sys.modules
    del sys.modules["shelf_pkg"], sys.modules["shelf_pkg.tasks"]


def test_send_task(app: App) -> None:
    result = app.send_task("far.away", (1,), {"y": 2}, countdown=0)
    sent = take_one(app)
    assert (sent.message.task, sent.message.id) == ("far.away", result.id)


def test_signature_is_bound_to_the_app(app: App) -> None:
    call = app.signature("far.away", args=(1,), queue="q")
    assert (call.app, call.args, call.options) == (app, (1,), {"queue": "q"})


def test_asyncresult_groupresult_resultset_are_classes_bound_to_the_app() -> None:
    with new_app("one") as app, new_app("two"):
        result = app.AsyncResult("some-id")
        assert (result.app, result.id, result.state) == (app, "some-id", "PENDING")
        group = app.GroupResult("gid", [result]).save()
        found = app.GroupResult.restore("gid")
        assert found == group
        assert found.app is app
        assert app.GroupResult.restore("nothing-there") is None
        assert app.ResultSet([result]).app is app
        assert isinstance(result, app.AsyncResult)
        assert app.AsyncResult.TimeoutError is AsyncResult.TimeoutError
        assert pickle.loads(pickle.dumps(result)) == result

        class Own(app.AsyncResult):  # type: ignore[name-defined,misc]  # it acts as a class
            pass

        assert issubclass(Own, AsyncResult)
        assert app.AsyncResult == app.AsyncResult != current_app.AsyncResult


def test_app_task_class_is_the_base_of_class_based_tasks(app: App) -> None:
    class Add(app.Task):  # type: ignore[name-defined,misc]  # made for each app
        name = "add"

        def run(self, x: int, y: int) -> int:
            return x + y

    add = app.register_task(Add())
    assert (add.app, add(1, 2), app.tasks["add"]) == (app, 3, add)


def test_tasks_finalizes_and_has_the_built_in_ones(app: App) -> None:
    before = app.finalized
    builtin = {name for name in app.tasks if name.startswith("celery.")}
    assert (before, app.finalized) == (False, True)
    assert builtin == {
        f"celery.{name}"
        for name in (
            "accumulate",
            "backend_cleanup",
            "chain",
            "chord",
            "chord_unlock",
            "chunks",
            "umbel_ended",
            "umbel_errbacks",
            "group",
            "map",
            "starmap",
        )
    }


def test_an_unknown_task_says_the_nearest_name(app: App) -> None:
    app.task(name="shop.charge")(print)
    with pytest.raises(NotRegistered, match=r"no task 'shop.chrage' here: did you mean 'shop.cha"):
        _ = app.tasks["shop.chrage"]
    assert app.tasks.get("nothing") is None
    with pytest.raises(KeyError):
        _ = app.tasks["nothing"]


def test_control_revoke_terminate_purge_ping(app: App) -> None:
    app.control.revoke("a")
    app.control.revoke(["b", "c"], terminate=True, signal="SIGKILL")
    app.control.terminate("d")
    app.send_task("t")
    app.send_task("t")
    assert app.control.purge() == 2
    assert waiting(app) == (0, 0)
    assert app.control.discard_all() == 0
    assert app.control.ping() == []
    assert app.control.revoke("a", destination=["w1@host"]) is None


def test_control_ping_hears_of_workers(app: App) -> None:
    with RemoteDesk(app, "w1@here"):
        assert app.control.ping(timeout=5) == [{"w1@here": {"ok": "pong"}}]
        assert app.control.ping(destination=["w1@here"]) == [{"w1@here": {"ok": "pong"}}]
        assert app.control.ping(destination=["other@host"]) == []


INSPECT = ("active", "active_queues", "clock", "conf", "memdump", "memsample", "ping",
           "registered", "registered_tasks", "report", "reserved", "revoked", "scheduled",
           "stats")  # fmt: skip


@pytest.mark.parametrize("name", INSPECT)
def test_inspect_without_workers_is_none(app: App, name: str) -> None:
    assert getattr(app.control.inspect(timeout=0.1), name)() is None


def test_inspect_with_arguments_without_workers_is_none(app: App) -> None:
    inspect = app.control.inspect(timeout=0.1, limit=1, pattern="w*", matcher="glob")
    assert inspect.query_task("a", "b") is None
    assert inspect.query_task(["a"]) is None
    assert inspect.hello("w@here") is None
    assert inspect.objgraph() is None


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("add_consumer", ("q",)),
        ("autoscale", (4, 1)),
        ("broadcast", ("mine",)),
        ("cancel_consumer", ("q",)),
        ("disable_events", ()),
        ("enable_events", ()),
        ("heartbeat", ()),
        ("pool_grow", (1,)),
        ("pool_restart", ()),
        ("pool_shrink", (1,)),
        ("rate_limit", ("t", "1/m")),
        ("revoke_by_stamped_headers", ({"a": "b"},)),
        ("shutdown", ()),
        ("terminate", ("id",)),
        ("time_limit", ("t", 1, 2)),
    ],
)
def test_control_tells_workers_and_waits_only_when_asked(app: App, name: str, args: Any) -> None:
    method = getattr(app.control, name)
    assert method(*args) is None
    assert method(*args, reply=True, timeout=0.1) == []


def test_on_configure_on_after_configure_on_after_finalize(monkeypatch: Any) -> None:
    told: list[Any] = []
    with new_app() as app:
        app.on_configure.connect(lambda **_: told.append("configure"), weak=False)
        app.on_after_configure.connect(lambda source, **_: told.append(source), weak=False)
        app.on_after_finalize.connect(lambda **_: told.append("finalize"), weak=False)
        app.finalize()
        _ = app.conf.task_serializer
        assert told[0] == "configure"
        assert told[1] is app.conf
        assert told[2] == "finalize"


def test_finalize_is_idempotent(app: App) -> None:
    app.finalize()
    task = app.tasks["celery.map"]
    app.finalize()
    assert app.tasks["celery.map"] is task


def test_register_task_takes_classes_and_instances_and_replaces(app: App) -> None:
    class One(Task[[], int]):
        name = "t"

        def run(self) -> int:
            return 1

    class Two(One):
        def run(self) -> int:
            return 2

    app.register_task(One)
    with pytest.warns(DuplicateTaskNameWarning, match="'t' is taken over"):
        app.register_task(Two())
    assert app.tasks["t"]() == 2


def test_gen_task_name_can_be_overridden() -> None:
    class Own(App):
        def gen_task_name(self, name: str, module: str) -> str:
            return f"own.{name}"

    with new_app(cls=Own) as app:
        assert app.task(len).name == "own.len"


def test_start_and_worker_main_run_the_command_line(app: App) -> None:
    with pytest.raises(SystemExit):
        app.start(["no-such-command"])
    with pytest.raises(SystemExit):
        app.worker_main(["worker", "--no-such-option"])


def test_connection_for_write_is_a_health_check(app: App) -> None:
    with app.connection_for_write() as connection:
        assert connection.ensure_connection(max_retries=3) is connection
        assert connection.connected
        connection.release()
    assert app.connection().as_uri().startswith("memory://")
    assert app.connection_for_read().connect().connected
    assert app.connection_or_acquire(connection) is connection


def test_connection_for_write_fails_after_its_retries() -> None:
    url = "redis://:secret@127.0.0.1:1/0"
    waits: list[float] = []
    with new_app(broker=url) as app:
        connection = app.connection_for_write()
        with pytest.raises(BrokerUnavailable):
            connection.ensure_connection(
                lambda error, seconds: waits.append(seconds),
                max_retries=2,
                interval_start=0,
                interval_step=0.001,
            )
        assert waits == [0, 0.001]
        with pytest.raises(connection.connection_errors):
            connection.ensure_connection(timeout=0)
        assert not connection.connected
        assert "secret" not in repr(connection)
        assert connection.as_uri(include_password=True) == url
    with new_app() as app:
        assert not app.connection_for_write(url).connected
        with pytest.raises(AttributeError, match="a connection has no 'Producer' here"):
            _ = app.connection_for_write().Producer


def test_log(app: App, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    from umbel.app import logs

    plans: list[logs.LogPlan] = []

    def note(plan: logs.LogPlan) -> bool:
        plans.append(plan)
        return True

    monkeypatch.setattr(logs, "setup_logging", note)
    assert app.log.setup(loglevel="DEBUG", colorize=False)
    assert not app.log.setup_logging_subsystem()
    assert app.log.already_setup
    assert (plans[0].level, plans[0].color) == (logging.DEBUG, False)
    assert app.log.get_default_logger().name == "celery"
    assert app.log.get_task_logger().name == "celery.task"
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    with new_app() as other:
        other.log.setup(redirect_stdouts=True, redirect_level="INFO")
        print("to the log")
    assert "to the log" in caplog.messages
    out = app.log.redirect_stdouts_to_logger(logging.getLogger("x"), "INFO")
    assert out.write("text") == 4


def test_loader(app: App) -> None:
    assert app.loader.import_task_module("json").__name__ == "json"
    app.loader.import_default_modules()


def test_backend_and_result_backend(app: App) -> None:
    assert app.backend is app.result_backend


def test_current_task_and_current_worker_task(app: App) -> None:
    seen: list[Any] = []

    @app.task
    def look() -> None:
        seen.append((app.current_task, app.current_worker_task, bool(current_task)))

    look()
    assert seen == [(look, None, True)]
    assert app.current_task is None
    assert current_task == None  # noqa: E711 - a proxy is no None, and equal to what it stands for


def test_current_worker_task_in_a_worker(app: App, worker: Any) -> None:
    @app.task
    def look() -> str:
        assert app.current_worker_task is not None
        return app.current_worker_task.name

    assert look.delay().get(timeout=10) == look.name


def test_set_current_set_default_close_and_with() -> None:
    with new_app("a") as app:
        app.set_default()
        app.set_current()
        assert current_app == app
    assert current.current_or_none() is None


def test_bugreport(app: App) -> None:
    report = app.bugreport()
    assert umbel.__version__ in report
    assert "memory" in report


def test_pickling_an_app_keeps_its_settings(app: App) -> None:
    app.conf.task_default_queue = "q"
    assert pickle.loads(pickle.dumps(app)).conf.task_default_queue == "q"


def test_current_app_makes_a_default_one_or_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("C_STRICT_APP", "1")
    with pytest.raises(RuntimeError, match="no current app"):
        _ = current_app.main
    monkeypatch.delenv("C_STRICT_APP")
    assert current_app.main == "default"


def test_shared_task_belongs_to_every_app_and_means_the_current_one() -> None:
    @shared_task(name="everywhere")
    def everywhere() -> int:
        return 1

    with new_app("a") as first, new_app("b") as second:
        assert first.tasks["everywhere"].app is first
        assert everywhere.app is second
        with pytest.raises(TypeError, match="is a task already"):
            shared_task(everywhere)


def test_two_functions_with_one_name() -> None:
    with new_app(cls=Celery) as app:
        app.task(name="t")(lambda: 1)
        with pytest.warns(DuplicateTaskNameWarning, match="claim the name 't'"):
            app.task(name="t")(print)
        assert app.tasks["t"]() == 1
    with new_app() as app:
        app.task(name="t")(len)
        with pytest.raises(UsageError, match="Give one of them another name="):
            app.task(name="t")(print)


def test_tasks_of_one_celery_app_appear_on_others() -> None:
    with new_app("a", cls=Celery) as one:
        one.task(name="mine")(len)
        with new_app("b", cls=Celery) as other:
            assert other.tasks["mine"].app is other


@pytest.mark.parametrize("name", sorted(_ABSENT))
def test_what_an_app_does_not_have_says_why(app: App, name: str) -> None:
    with pytest.raises(AttributeError, match=f"An app has no '{name}' here: "):
        getattr(app, name)
    assert not hasattr(app, name)


def test_a_typing_slip_on_the_app_is_an_ordinary_error(app: App) -> None:
    with pytest.raises(AttributeError, match="'App' object has no attribute 'taks'"):
        _ = app.taks  # type: ignore[attr-defined]  # the slip


def test_no_backend_says_what_to_set() -> None:
    with Celery("x", broker="memory://") as app:
        for use in (
            lambda: app.AsyncResult("i").state,
            lambda: app.AsyncResult("i").get(timeout=1),
            lambda: app.backend,
        ):
            with pytest.raises(NoResultBackend, match="No result backend is configured"):
                use()
            with pytest.raises(NotImplementedError):
                use()


def test_user_messages_reach_a_queue_of_their_own(app: App) -> None:
    app.send_task("t", queue="special")
    assert [one.queue for one in take(app, "special")] == ["special"]
