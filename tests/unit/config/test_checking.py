"""Unknown names, mixed names, settings that do not fit each other: every problem at once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbel.config.celery_names import NEW_NAMES
from umbel.config.checking import misspelled, setting_named
from umbel.config.conf import Conf
from umbel.config.settings import NAMES
from umbel.errors import ImproperlyConfigured, UnknownSetting

ORIGIN = "(the mapping given to config_from_object)"


def error_of(source: Any, profile: str = "celery", **kwargs: Any) -> str:
    with pytest.raises(ImproperlyConfigured) as caught:
        Conf(profile=profile, source=source, **kwargs).finalize()
    return str(caught.value)


@pytest.mark.parametrize("profile", ["umbel", "celery"])
@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("task_acks_lat", "task_acks_late"),
        ("taks_serializer", "task_serializer"),
        ("broker_ulr", "broker_url"),
        ("timezon", "timezone"),
        ("TASK_ACKS_LATE", "task_acks_late"),
        ("CELERYD_CONCURENCY", "CELERYD_CONCURRENCY"),
        ("CELERY_TASK_SERIALISER", "CELERY_TASK_SERIALIZER"),
    ],
)
def test_a_misspelled_name_is_an_error_in_both_profiles(
    profile: str, wrong: str, right: str
) -> None:
    assert (
        error_of({wrong: 1}, profile) == f"{wrong} {ORIGIN} is not a setting: did you mean {right}?"
    )
    with pytest.raises(UnknownSetting):
        Conf(profile=profile, changes={wrong: 1})


@pytest.mark.parametrize(
    "name",
    [
        "redbeat_redis_url",
        "redbeat_lock_timeout",
        "beat_dburi",
        "beat_schema",
        "singleton_backend_url",
        "ONCE",
        "once",
        "mongodb_scheduler_url",
        "flower_basic_auth",
        "sentry_dsn",
        "DJANGO_CELERY_BEAT_TZ_AWARE",
        "django_celery_results_task_id_max_length",
        "task_default_retry_delay",
        "dedupe_redis_url",
        "eager_mode",
        "debug",
    ],
)
def test_names_of_other_packages(name: str) -> None:
    assert Conf(profile="celery", source={name: 1})[name] == 1
    assert Conf(profile="celery", changes={name: 1})[name] == 1
    with pytest.raises(UnknownSetting, match=f"^{name} "):
        Conf(profile="umbel", source={name: 1}).finalize()
    with pytest.raises(UnknownSetting):
        Conf(profile="umbel").update({name: 1})


def test_a_name_that_lacks_its_group_is_recognised() -> None:
    assert error_of({"prefetch_multiplier": 1}, "umbel").endswith(
        "did you mean worker_prefetch_multiplier?"
    )


def test_the_spelling_of_the_namespace_celery_needs_no_namespace() -> None:
    source = {"CELERY_TASK_ALWAYS_EAGER": True, "CELERY_ACKS_LATE": True}
    for profile in ("umbel", "celery"):
        settings = Conf(profile=profile, source=source).settings
        assert settings.task_always_eager
        assert settings.task_acks_late
    both = {"CELERY_BROKER_URL": "redis://h", "broker_url": "redis://h"}
    assert Conf(source=both).settings.broker_url == "redis://h"
    with pytest.raises(UnknownSetting):
        Conf(source={"CELERY_WORKER_LEASE": 20}).finalize()  # that one is not Celery's


def test_all_of_a_flask_config_may_be_passed_on() -> None:
    flask = {
        "CELERY_BROKER_URL": "redis://h/1",
        "CELERY_RESULT_BACKEND": "redis://h/2",
        "DEBUG": True,
        "SECRET_KEY": "x",
        "REDIS_HOST": "h",
        "REDIS_URL": "redis://h",
        "DATABASE_URL": "sqlite://",
        "SQLALCHEMY_DATABASE_URI": "sqlite://",
        "TIMEZONE": "Mars/Olympus",
        "CACHE_TYPE": "simple",
    }
    conf = Conf(profile="celery", changes={"broker_url": "redis://h/1"})
    conf.update(flask)
    assert conf.settings.broker_url == "redis://h/1"
    assert conf.settings.result_backend == "redis://h/2"
    assert conf.settings.timezone is None
    assert conf.REDIS_HOST == "h"


@pytest.mark.parametrize(
    "name",
    [
        "CELERYD_OPTS",
        "CELERYD_NODES",
        "CELERY_BIN",
        "CELERY_RESULT_BACKEND_DB",
        "CELERY_SEND_TASK_ERROR_EMAILS",
        "CELERYD_LOG_LEVEL",
        "CELERY_REDIS_URL",
        "BROKER_BACKEND",
        "task_soft_limit",
        "redis_url",
        "log_level",
    ],
)
def test_other_words_are_no_misspellings(name: str) -> None:
    assert Conf(profile="celery", source={name: 1})[name] == 1


class Program:
    """A module of settings, with what modules have besides."""

    import json as _json

    REDIS_HOST = "localhost"
    BASE_DIR = "/"
    redis_url = "redis://h"

    def task_runner(self) -> None: ...

    task_serializer = "json"


@pytest.mark.parametrize("profile", ["umbel", "celery"])
def test_constants_and_functions_of_a_program_are_its_own(profile: str) -> None:
    class Config(Program):
        redis_url = staticmethod(len)

    conf = Conf(profile=profile, source=Config)
    assert conf.REDIS_HOST == "localhost"
    assert conf.settings.task_serializer == "json"


def test_in_the_umbel_profile_what_begins_like_a_setting_must_be_one() -> None:
    text = "redis_url ('Program' given to config_from_object) is not a setting"
    assert error_of(Program, "umbel").startswith(text)
    assert Conf(profile="celery", source=Program).redis_url == "redis://h"


def test_misspelled_names_in_a_class_are_found() -> None:
    class Config:
        task_serialzer = "json"
        CELERYD_CONCURENCY = 3

    text = error_of(Config)
    assert "task_serialzer ('Config' given to config_from_object)" in text
    assert "did you mean CELERYD_CONCURRENCY?" in text


KEYS = st.sampled_from([*NAMES, *NEW_NAMES, *(f"CELERY_{name.upper()}" for name in NAMES)])
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.timedeltas(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.dictionaries(KEYS | st.text(max_size=12), VALUES, max_size=6),
    st.sampled_from(["umbel", "celery"]),
    st.sampled_from([None, "CELERY"]),
)
def test_whatever_a_source_holds_it_is_read_or_refused(
    source: dict[str, Any], profile: str, namespace: str | None
) -> None:
    conf = Conf(profile=profile, source=source, namespace=namespace)
    try:
        settings = conf.settings
    except ImproperlyConfigured:
        return
    assert settings.broker_url
    for key in source:
        assert key in conf or namespace
    conf.humanize(with_defaults=True)


def test_names_are_text() -> None:
    with pytest.raises(
        UnknownSetting, match=r"^3 \(app\.conf\) is not a setting: names are text\.$"
    ):
        Conf().update({3: 4})


# --- values and combinations ----------------------------------------------------------------------


def test_everything_that_is_wrong_is_told_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UMBEL_TASK_TIME_LIMIT", "soon")
    conf = Conf(profile="celery", source={"task_acks_lat": 1, "broker_url": "localhost"})
    conf.add_defaults({"worker_pool": 3})
    with pytest.raises(ImproperlyConfigured) as caught:
        conf.finalize()
    assert not isinstance(caught.value, UnknownSetting)
    assert str(caught.value).splitlines() == [
        "4 settings are wrong:",
        "  - task_time_limit (environment variable UMBEL_TASK_TIME_LIMIT) is 'soon' (str); it "
        "takes a number of seconds or a timedelta.",
        f"  - task_acks_lat {ORIGIN} is not a setting: did you mean task_acks_late?",
        f"  - broker_url {ORIGIN} cannot be used. The URL 'localhost' is not a URL: write "
        "scheme://host:port/path, for example redis://localhost:6379/0 or "
        "sqlite:///umbel.sqlite3.",
        "  - worker_pool (add_defaults) is 3 (int); it takes text.",
    ]


def test_only_unknown_names_are_an_unknown_setting_error() -> None:
    with pytest.raises(UnknownSetting, match=r"^2 settings are wrong:"):
        Conf(source={"task_acks_lat": 1, "task_serialzer": 1}).finalize()


@pytest.mark.parametrize("profile", ["umbel", "celery"])
def test_old_and_new_names_do_not_mix(profile: str) -> None:
    source = {"CELERY_ACKS_LATE": True, "BROKER_URL": "redis://h", "task_serializer": "json"}
    assert error_of(source, profile) == (
        f"old and new names are mixed {ORIGIN}: rename CELERY_ACKS_LATE to task_acks_late, "
        "BROKER_URL to broker_url."
    )
    # With a namespace, and in what the program sets, any spelling goes.
    assert Conf(profile=profile, source=source, namespace="CELERY").settings.task_acks_late
    assert Conf(profile=profile, changes=source).settings.task_acks_late


def test_old_names_alone() -> None:
    source = {"CELERY_ACKS_LATE": True, "BROKER_URL": "redis://h", "CELERYD_POOL": "solo"}
    settings = Conf(profile="celery", source=source).settings
    assert (settings.task_acks_late, settings.broker_url, settings.worker_pool) == (
        True,
        "redis://h",
        "solo",
    )


def test_one_setting_in_two_spellings() -> None:
    twice = {"CELERY_ACKS_LATE": True, "CELERY_TASK_ACKS_LATE": False}
    assert error_of(twice, namespace="CELERY") == (
        f"task_acks_late {ORIGIN} is given twice with different values, as CELERY_ACKS_LATE and "
        "as CELERY_TASK_ACKS_LATE: keep one of them."
    )
    agreeing = dict.fromkeys(twice, True)
    assert Conf(source=agreeing, namespace="CELERY").settings.task_acks_late


def test_settings_that_do_not_fit_each_other() -> None:
    assert error_of({"worker_lease": 3}) == (
        f"worker_lease_renewal = 5.0 (default) and worker_lease = 3.0 {ORIGIN}: a lease must be "
        "renewed before it ends."
    )
    assert "set control_queue_exclusive to False" in error_of({"control_queue_durable": True})
    assert "the soft limit would never be reached" in error_of(
        {"task_time_limit": 5, "task_soft_time_limit": 5}, "umbel"
    )
    Conf(profile="celery", source={"task_time_limit": 5, "task_soft_time_limit": 5}).finalize()


def test_a_zone_that_does_not_exist() -> None:
    assert error_of({"timezone": "Europe/Rom"}) == (
        f"timezone {ORIGIN} is 'Europe/Rom', which is not a time zone: did you mean 'Europe/Rome'?"
    )
    assert "such as 'Europe/Rome'" in error_of({"timezone": "!!"})


@pytest.mark.parametrize(
    "backend",
    ["redis", "rpc", "django-db", "pkg.module:Backend", "db+sqlite:///x", "file:///x", int],
)
def test_backends_that_are_not_ours_to_judge(backend: Any) -> None:
    assert Conf(profile="celery", source={"result_backend": backend}).result_backend == backend


def test_a_backend_that_can_be_none() -> None:
    assert error_of({"result_backend": []}) == (
        f"result_backend {ORIGIN} is []; it takes a URL, the alias of a backend or a class."
    )


def test_a_wrong_url_does_not_tell_its_password() -> None:
    text = error_of({"result_backend": "redis://:top/secret@h:1/0"})
    assert "secret" not in text
    assert "percent-encoded" in text


@given(st.sampled_from(NAMES), st.data())
def test_two_wrong_letters_are_found_in_every_long_name(name: str, data: st.DataObject) -> None:
    word, middle = name, len(name) // 2
    # The one in the back half first, so that the two do not touch.
    places = [(middle + 1, len(name) - 2), (0, middle - 2)] if len(name) > 9 else [(0, 3)]
    for first, last in places:
        at = data.draw(st.integers(first, last))
        edit = data.draw(st.sampled_from(["drop", "double", "swap"]))
        if edit == "drop":
            word = word[:at] + word[at + 1 :]
        elif edit == "double":
            word = word[:at] + word[at] + word[at:]
        else:
            word = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    # Another setting may be as near, or be the very word.
    assert setting_named(word) or misspelled(word) is not None
