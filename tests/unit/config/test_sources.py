"""Where settings come from: objects, modules, names, environment, command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from umbel.config.conf import Conf
from umbel.errors import ImproperlyConfigured, UnknownSetting


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory whose modules can be imported, and are forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path  # type: ignore[misc] # a generator fixture
    for name in set(sys.modules) - before:
        del sys.modules[name]


class Plain:
    task_serializer = "yaml"
    _private = 1


@pytest.mark.parametrize("source", [Plain, Plain(), {"task_serializer": "yaml"}])
def test_class_object_and_mapping(source: Any) -> None:
    assert Conf(source=source).settings.task_serializer == "yaml"


@pytest.mark.parametrize(
    "name",
    ["conf_pkg.mod", "conf_pkg.mod:Config", "conf_pkg.mod.Config", "conf_pkg.mod:Outer.inner"],
)
def test_dotted_names(modules: Path, name: str) -> None:
    package = modules / "conf_pkg"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "mod.py").write_text(
        "import os\nfrom typing import Any\ntask_serializer = 'yaml'\nMY_OWN = 3\n"
        "class Config:\n    task_serializer = 'yaml'\n"
        "class Outer:\n    inner = {'task_serializer': 'yaml'}\n"
    )
    conf = Conf(source=name)
    assert conf.settings.task_serializer == "yaml"
    if name == "conf_pkg.mod":
        assert conf.MY_OWN == 3
        assert "os" not in list(conf)
        assert conf.origin_of("task_serializer") == "'conf_pkg.mod'"


def test_a_module_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf_here.py").write_text("task_serializer = 'yaml'\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in {"", str(tmp_path)}])
    before = list(sys.path)
    assert Conf(source="conf_here").settings.task_serializer == "yaml"
    assert sys.path == before
    del sys.modules["conf_here"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("no_such_module", "from 'no_such_module', but there is no module 'no_such_module'."),
        ("no_such.config", "but there is no module 'no_such'."),
        ("os:nothing", "from 'os:nothing', but os has no 'nothing'."),
        ("json.nothing", "from 'json.nothing', but json has no 'nothing'."),
    ],
)
def test_names_that_lead_nowhere(name: str, sentence: str) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        Conf(source=name).finalize()
    assert sentence in str(caught.value)
    assert Conf(source=name, silent=True).settings.task_serializer == "json"


def test_what_a_module_raises_passes_through(modules: Path) -> None:
    (modules / "conf_broken.py").write_text("import not_installed_anywhere\n")
    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        Conf(source="conf_broken", silent=True).finalize()


def test_properties_of_an_object_are_read_only_when_they_are_settings() -> None:
    class Lazy:
        @property
        def task_serializer(self) -> str:
            return "yaml"

        @property
        def database(self) -> str:
            raise AssertionError("nobody asked")

    assert Conf(source=Lazy()).settings.task_serializer == "yaml"


# --- namespaces -----------------------------------------------------------------------------------


def test_a_namespace_as_django_uses_it() -> None:
    class DjangoSettings:
        CELERY_TASK_ALWAYS_EAGER = True
        CELERY_ACKS_LATE = False
        CELERYD_POOL = "solo"
        CELERY_MY_OWN = 3
        BROKER_POOL_LIMIT = 5
        DATABASES = {"default": {}}  # noqa: RUF012 - as Django has it
        TIME_ZONE = "Europe/Rome"
        SECRET_KEY = "x"

        def configure(self) -> None: ...

    conf = Conf(profile="celery", source=DjangoSettings, namespace="CELERY")
    settings = conf.settings
    assert settings.task_always_eager
    assert not settings.task_acks_late
    assert (settings.worker_pool, settings.broker_pool_limit) == ("solo", 5)
    assert settings.timezone == conf.timezone == "Europe/Rome"
    assert conf.my_own == 3
    assert conf.CELERY_TASK_ALWAYS_EAGER is True


@pytest.mark.parametrize("namespace", ["app", "app_"])
def test_a_namespace_in_lower_case(namespace: str) -> None:
    conf = Conf(source={"app_task_serializer": "yaml", "other": 1}, namespace=namespace)
    assert conf.settings.task_serializer == "yaml"
    assert "other" not in list(conf)


def test_names_outside_the_namespace_are_not_judged_but_typos_in_code_are() -> None:
    conf = Conf(source={"task_serialzer": 1}, namespace="CELERY")
    conf.finalize()
    with pytest.raises(UnknownSetting):
        conf.update(task_serialzer="yaml")


def test_a_timezone_of_its_own_is_stronger_than_djangos() -> None:
    source = {"TIME_ZONE": "Europe/Rome", "timezone": "Europe/Oslo"}
    assert Conf(profile="celery", source=source).timezone == "Europe/Oslo"


# --- environment ----------------------------------------------------------------------------------


def test_every_setting_has_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UMBEL_WORKER_CONCURRENCY", "3")
    monkeypatch.setenv("UMBEL_TASK_ACKS_LATE", "false")
    monkeypatch.setenv("UMBEL_TASK_ROUTES", '{"a.*": {"queue": "a"}}')
    monkeypatch.setenv("UMBEL_INCLUDE", "a,b")
    monkeypatch.setenv("UMBEL_RESULT_EXPIRES", "none")
    conf = Conf()
    assert (conf.worker_concurrency, conf.task_acks_late) == (3, False)
    assert conf.task_routes == {"a.*": {"queue": "a"}}
    assert conf.include == ("a", "b")
    assert conf.result_expires is None


def test_wrong_and_misspelled_variables_are_told_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UMBEL_TASK_ACKS_LAET", "1")
    monkeypatch.setenv("UMBEL_BROKER_POOL_LIMIT", "many")
    monkeypatch.setenv("UMBEL_WORKER_LOGLEVEL", "info")  # an option of the worker command
    monkeypatch.setenv("UMBEL_CELERY", "0")  # a switch of the alias
    with pytest.raises(ImproperlyConfigured) as caught:
        Conf().finalize()
    assert str(caught.value) == (
        "2 settings are wrong:\n"
        "  - task_acks_laet (environment variable UMBEL_TASK_ACKS_LAET) is not a setting: did you "
        "mean task_acks_late?\n"
        "  - broker_pool_limit (environment variable UMBEL_BROKER_POOL_LIMIT) is 'many' (str); it "
        "takes a whole number."
    )


def test_a_variable_names_the_module(modules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (modules / "conf_env.py").write_text("task_serializer = 'yaml'\n")
    (modules / "conf_other.py").write_text("task_serializer = 'pickle'\n")
    monkeypatch.setenv("CELERY_CONFIG_MODULE", "conf_env")
    assert Conf().settings.task_serializer == "yaml"
    assert Conf(source={}).settings.task_serializer == "json"
    monkeypatch.setenv("UMBEL_CONFIG_MODULE", "conf_other")
    assert Conf().settings.task_serializer == "pickle"
    monkeypatch.setenv("MY_CONFIG", "conf_env")
    conf = Conf()
    assert conf.set_source_from_variable("MY_CONFIG", force=True)
    assert conf.settings.task_serializer == "yaml"


def test_a_variable_that_is_not_set() -> None:
    conf = Conf()
    with pytest.raises(ImproperlyConfigured, match=r"variable NOT_SET should name .*NOT_SET=proj"):
        conf.set_source_from_variable("NOT_SET")
    assert conf.set_source_from_variable("NOT_SET", silent=True) is False


# --- command line ---------------------------------------------------------------------------------


def test_words_of_the_command_line() -> None:
    conf = Conf(profile="celery", changes={"broker_pool_limit": 1})
    conf.set_from_command_line(
        [
            "broker.pool_limit=3",
            "prefetch_multiplier=7",
            "celery.timezone=UTC",
            "task_acks_late=yes",
            'task.routes=(json){"a": 1}',
            "task.default_routing_key=(string)5",
            "result.expires=30",
        ],
        namespace="worker",
    )
    assert conf.without_defaults() == {
        "broker_pool_limit": 3,
        "worker_prefetch_multiplier": 7,
        "timezone": "UTC",
        "task_acks_late": True,
        "task_routes": {"a": 1},
        "task_default_routing_key": "5",
        "result_expires": 30.0,
    }
    assert conf.origin_of("timezone") == "command line"


def test_options_of_a_command_come_as_values() -> None:
    conf = Conf(changes={"worker_concurrency": 1, "include": ("a",)})
    conf.set_from_command_line({"worker_concurrency": 8, "include": ("a", "b")})
    assert (conf.settings.worker_concurrency, conf.settings.include) == (8, ("a", "b"))


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("foo", "'foo' (command line) is neither an option nor a setting: settings are written"),
        ("=1", "'=1' (command line) is neither an option nor a setting"),
        ("worker.nope=3", "worker_nope (command line) is not a setting"),
        ("prefetch_multiplir=3", "prefetch_multiplir (command line) is not a setting"),
        ("task.acks_late=maybe", "task_acks_late (command line) is 'maybe' (str); it takes True"),
        ("task.routes=(json){", "task.routes (command line) is not valid JSON"),
    ],
)
def test_wrong_words(word: str, sentence: str) -> None:
    conf = Conf(profile="celery")
    with pytest.raises(ImproperlyConfigured) as caught:
        conf.set_from_command_line([word], namespace="worker")
    assert sentence in str(caught.value)
