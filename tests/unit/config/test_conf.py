"""app.conf: spellings, the mapping, the snapshot, callbacks, pickling, threads."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from datetime import timedelta
from typing import Any

import pytest

from umbel.config.celery_names import OLD_NAMES
from umbel.config.conf import Conf
from umbel.config.settings import NAMES
from umbel.errors import ImproperlyConfigured, UnknownSetting

SAMPLE = {"task_serializer": "yaml", "worker_pool": "solo", "result_extended": True}


# --- spellings ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in NAMES if name in OLD_NAMES])
def test_every_setting_is_reached_by_every_spelling(name: str) -> None:
    conf = Conf(profile="celery", namespace="CELERY")
    spellings = (name, OLD_NAMES[name], f"CELERY_{name.upper()}")
    for spelling in spellings:
        # CELERY_WORKER_DIRECT and the like are both old and namespaced: they agree.
        assert conf[spelling] == getattr(conf, spelling) == conf[name]
        assert spelling in conf


@pytest.mark.parametrize("key", ["worker_prefetch_multiplier", "CELERYD_PREFETCH_MULTIPLIER"])
def test_writing_under_any_spelling_sets_the_one_setting(key: str) -> None:
    conf = Conf()
    conf[key] = 2
    assert conf.settings.worker_prefetch_multiplier == 2
    setattr(conf, key, 3)
    assert conf.worker_prefetch_multiplier == conf["CELERYD_PREFETCH_MULTIPLIER"] == 3
    assert conf.changes == {"worker_prefetch_multiplier": 3}


def test_reading_a_name_that_does_not_exist() -> None:
    conf = Conf()
    with pytest.raises(AttributeError, match=r"'task_serialzer': did you mean task_serializer\?"):
        _ = conf.task_serialzer
    with pytest.raises(KeyError, match=r"did you mean task_serializer\?"):
        conf["task_serialzer"]
    assert conf.get("task_serialzer", "x") == "x"
    assert "task_serialzer" not in conf
    assert 3 not in conf


# --- mapping --------------------------------------------------------------------------------------


def test_it_is_a_mapping_of_every_setting() -> None:
    conf = Conf(changes=SAMPLE)
    everything = dict(conf)
    assert list(everything)[: len(NAMES)] == list(NAMES)
    assert len(conf) == len(everything)
    assert everything["task_serializer"] == "yaml"


def test_update_sets_all_or_nothing() -> None:
    conf = Conf()
    before = conf.settings
    with pytest.raises(ImproperlyConfigured):
        conf.update(task_serializer="yaml", worker_prefetch_multiplier="many")
    assert conf.settings == before
    conf.update({"task_serializer": "yaml"}, worker_pool="solo")
    assert (conf.task_serializer, conf.worker_pool) == ("yaml", "solo")


def test_deleting_takes_back_what_the_program_set() -> None:
    conf = Conf(source={"task_serializer": "pickle"}, changes=SAMPLE)
    assert conf.task_serializer == "yaml"
    del conf["task_serializer"]
    assert conf.task_serializer == conf.settings.task_serializer == "pickle"
    with pytest.raises(KeyError):
        del conf["task_serializer"]
    del conf.worker_pool
    with pytest.raises(AttributeError, match=r"'worker_pool' was not set on app\.conf"):
        del conf.worker_pool
    conf.clear()
    assert conf.changes == {}
    assert not conf.settings.result_extended


def test_setdefault_gives_way_to_whoever_set_it() -> None:
    conf = Conf(source={"task_serializer": "pickle"})
    assert conf.setdefault("task_serializer", "yaml") == "pickle"
    assert conf.setdefault("worker_pool", "solo") == "solo"
    assert conf.settings.worker_pool == "solo"


def test_methods_cannot_be_overwritten() -> None:
    conf = Conf()
    with pytest.raises(AttributeError, match="'update' is no setting"):
        conf.update = 3  # type: ignore[method-assign, assignment] # what is tested
    with pytest.raises(AttributeError, match="'settings' is no setting"):
        conf.settings = 3


def test_custom_values_in_the_celery_profile() -> None:
    conf = Conf(profile="celery", changes={"redbeat_redis_url": "redis://h"})
    conf.update(ONCE={"backend": "x"})
    assert conf.redbeat_redis_url == "redis://h"
    assert conf["ONCE"] == conf.ONCE == {"backend": "x"}
    assert "ONCE" in conf
    assert "ONCE" in list(conf)
    del conf["ONCE"]
    assert "ONCE" not in conf


# --- values as given, and as stored ---------------------------------------------------------------


def test_conf_gives_what_was_set_and_settings_what_it_means() -> None:
    expires = timedelta(hours=1)
    conf = Conf(changes={"result_expires": expires, "broker_url": ["redis://a", "redis://b"]})
    assert conf.result_expires is expires
    assert conf.settings.result_expires == 3600.0
    assert conf.broker_url == ["redis://a", "redis://b"]
    assert conf.settings.broker_url == "redis://a;redis://b"


def test_the_default_of_result_expires_is_a_timedelta_as_in_celery() -> None:
    assert Conf().result_expires == timedelta(days=1)
    assert Conf().settings.result_expires == 86400.0


def test_default_mappings_may_be_written_into() -> None:
    conf, other = Conf(), Conf()
    before = conf.settings
    conf.beat_schedule["hourly"] = {"task": "t"}
    assert conf.settings.beat_schedule == {"hourly": {"task": "t"}}
    assert conf.beat_schedule is conf.settings.beat_schedule
    assert conf.settings is before
    assert other.settings.beat_schedule == other.beat_schedule == {}


def test_a_mapping_of_the_program_is_seen_as_it_grows() -> None:
    schedule: dict[str, Any] = {}
    conf = Conf(changes={"beat_schedule": schedule})
    settings = conf.settings
    schedule["x"] = {"task": "t"}
    assert settings.beat_schedule == conf.beat_schedule == {"x": {"task": "t"}}


def test_the_snapshot_is_one_object_until_something_is_set() -> None:
    conf = Conf()
    first = conf.settings
    assert conf.settings is first
    assert conf.__dict__["settings"] is first  # a plain attribute: that is what makes it cheap
    conf.task_serializer = "yaml"
    assert conf.settings is not first
    assert (first.task_serializer, conf.settings.task_serializer) == ("json", "yaml")


# --- reading late ---------------------------------------------------------------------------------


def test_nothing_is_read_before_it_is_needed() -> None:
    conf = Conf()
    conf.set_source("no_such_module")
    conf.task_serializer = "yaml"
    assert repr(conf) == "<Conf of the profile umbel, not read yet>"
    with pytest.raises(ImproperlyConfigured, match="no module 'no_such_module'"):
        _ = conf.settings


def test_force_reads_at_once() -> None:
    with pytest.raises(ImproperlyConfigured):
        Conf().set_source("no_such_module", force=True)


def test_callbacks_come_before_and_after_reading() -> None:
    heard: list[str] = []
    conf = Conf(source={"worker_pool": "solo"})

    def before(conf: Conf) -> None:
        heard.append("before")
        conf.update(task_serializer="yaml")

    def after(conf: Conf) -> None:
        heard.append(f"after {conf.worker_pool} {conf.task_serializer}")

    conf.on_configure.append(before)
    conf.on_after_configure.append(after)
    assert heard == []
    _ = conf.settings
    _ = conf.settings, conf.worker_pool
    assert heard == ["before", "after solo yaml"]
    conf.set_source({"worker_pool": "threads"})
    assert conf.worker_pool == "threads"
    assert heard[2:] == ["before", "after threads yaml"]


def test_a_callback_may_read_settings() -> None:
    seen: list[str] = []
    conf = Conf(source={"worker_pool": "solo"})
    conf.on_configure.append(lambda conf: seen.append(conf.worker_pool))
    assert conf.settings.worker_pool == "solo"
    assert seen == ["solo"]


def test_after_a_failed_read_the_callbacks_still_come() -> None:
    heard: list[str] = []
    conf = Conf(source={"worker_prefetch_multiplier": "many"})
    conf.on_after_configure.append(lambda _: heard.append("after"))
    with pytest.raises(ImproperlyConfigured):
        _ = conf.settings
    with pytest.raises(ImproperlyConfigured):
        _ = conf.settings
    assert heard == []
    conf.set_source({})
    _ = conf.settings
    assert heard == ["after"]


def test_a_callback_after_reading_may_wait_for_a_thread_that_reads() -> None:
    conf = Conf()

    def after(conf: Conf) -> None:
        thread = threading.Thread(target=conf.make_settings)
        thread.start()
        thread.join(10)
        assert not thread.is_alive()

    conf.on_after_configure.append(after)
    assert conf.settings


def test_threads_that_read_and_set_see_whole_snapshots() -> None:
    conf = Conf(changes={"worker_lease": 10.0, "worker_lease_renewal": 5.0})
    wrong: list[Any] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            settings = conf.settings
            if settings.worker_lease_renewal * 2 != settings.worker_lease:
                wrong.append(settings)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(1, 300):
        conf.update(worker_lease=number * 2.0, worker_lease_renewal=float(number))
    done.set()
    for reader in readers:
        reader.join()
    assert wrong == []
    assert conf.settings.worker_lease == 598.0


# --- looking at it --------------------------------------------------------------------------------


def test_what_was_set_and_by_whom(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UMBEL_TASK_ACKS_LATE", "no")
    conf = Conf(source={"worker_pool": "solo"}, changes={"task_serializer": "yaml"})
    conf.worker_concurrency = 3
    assert conf.without_defaults() == {
        "task_acks_late": False,
        "worker_pool": "solo",
        "task_serializer": "yaml",
        "worker_concurrency": 3,
    }
    assert conf.origin_of("task_acks_late") == "environment variable UMBEL_TASK_ACKS_LATE"
    assert conf.origin_of("CELERYD_POOL") == "the mapping given to config_from_object"
    assert conf.origin_of("task_serializer") == "the app's constructor"
    assert conf.origin_of("worker_concurrency") == "app.conf"
    assert conf.origin_of("worker_lease") == "default of the profile umbel"
    assert conf.value_set_for("CELERYD_POOL") == "solo"
    assert conf.value_set_for("worker_lease") is None
    assert repr(conf) == "<Conf of the profile umbel, 4 set>"


def test_finding_options() -> None:
    conf = Conf(profile="celery")
    group, key, option = conf.find_option("disable_rate_limits")
    assert (group, key, option.name) == (
        "worker",
        "disable_rate_limits",
        "worker_disable_rate_limits",
    )
    assert (option.type, option.default, option.old) == (
        "bool",
        False,
        "CELERY_DISABLE_RATE_LIMITS",
    )
    assert conf.find_option("timezone")[:2] == ("", "timezone")
    assert conf.find_option("pool_limit", namespace="broker")[0] == "broker"
    assert conf.find_value_for_key("prefetch_multiplier") == 4
    assert conf.get_by_parts("worker", "", "pool") == "prefork"
    assert conf.first("broker_host", "no_such_name", "worker_pool") == "prefork"
    assert conf.first("broker_host") is None
    with pytest.raises(KeyError, match="'rate_limitz'"):
        conf.find_option("rate_limitz")


def test_defaults_are_the_added_ones_then_the_profiles() -> None:
    conf = Conf(profile="celery")
    conf.add_defaults({"worker_pool": "solo"})
    conf.add_defaults(lambda: {"task_serializer": "yaml"})
    first, second, built_in = conf.defaults
    assert (first, second) == ({"task_serializer": "yaml"}, {"worker_pool": "solo"})
    assert built_in["worker_pool"] == "prefork"


def test_printing_masks_secrets_everywhere() -> None:
    conf = Conf(
        profile="celery",
        changes={
            "broker_url": "redis://:pw1@h/0;redis://:pw2@i/0",
            "result_backend": "db+postgresql://u:pw3@h/d",
            "redis_password": "pw4",
            "s3_secret_access_key": "pw5",
            "broker_transport_options": {"sentinel_kwargs": {"password": "pw6"}, "x": 1},
            "task_default_routing_key": "shown",
            "security_key": None,
            "broker_read_url": ["redis://:pw7@h/0"],
        },
    )
    text = conf.humanize()
    assert "pw" not in text
    assert "broker_url: 'redis://:**@h/0;redis://:**@i/0'" in text.splitlines()
    assert "redis_password: '********'" in text.splitlines()
    assert "task_default_routing_key: 'shown'" in text.splitlines()
    table = conf.table()
    assert table["broker_transport_options"] == {
        "sentinel_kwargs": {"password": "********"},
        "x": 1,
    }
    assert conf.table(censored=False)["redis_password"] == "pw4"
    assert "worker_lease: 15.0" in conf.humanize(with_defaults=True).splitlines()
    assert "worker_lease" not in text


# --- elsewhere ------------------------------------------------------------------------------------


def test_it_crosses_into_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://env")
    conf = Conf(source=Source, namespace="CELERY", changes={"worker_pool": "solo"})
    conf.add_defaults(lambda: {"task_serializer": "yaml"})
    conf.on_configure.append(lambda _: None)
    conf.beat_schedule["x"] = {"task": "t"}
    monkeypatch.delenv("CELERY_BROKER_URL")
    twin = pickle.loads(pickle.dumps(conf))
    assert twin.settings == conf.settings
    assert twin.settings.broker_url == "redis://env"
    assert twin.CELERY_RESULT_EXTENDED is True
    twin.worker_pool = "threads"
    assert conf.worker_pool == "solo"


class Source:
    CELERY_RESULT_EXTENDED = True


def test_a_copy_is_independent() -> None:
    conf = Conf(changes=SAMPLE)
    conf.beat_schedule["x"] = 1
    twin = conf.copy()
    twin.task_serializer = "json"
    twin.beat_schedule["y"] = 2
    assert conf.task_serializer == "yaml"
    assert conf.settings.beat_schedule == {"x": 1}
    assert twin.settings.beat_schedule == {"x": 1, "y": 2}
    assert twin != conf
    assert len({twin, conf}) == 2


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # what is tested
def test_a_child_forked_while_another_thread_reads_can_read() -> None:
    conf = Conf()
    held, let_go = threading.Event(), threading.Event()

    def hold(_: Conf) -> None:
        held.set()
        let_go.wait(10)

    conf.on_configure.append(hold)
    reader = threading.Thread(target=conf.make_settings)
    reader.start()
    held.wait(10)
    child = os.fork()
    if child == 0:
        signal.alarm(10)  # ends the child if it waits for a lock that nobody will let go
        conf.on_configure.clear()
        os._exit(0 if conf.settings.task_acks_late else 1)
    _, status = os.waitpid(child, 0)
    let_go.set()
    reader.join()
    assert status == 0


def test_a_profile_that_does_not_exist() -> None:
    with pytest.raises(ImproperlyConfigured, match="no profile 'clery'"):
        Conf(profile="clery")


def test_a_misspelled_setting_is_refused_where_it_is_set() -> None:
    conf = Conf(profile="celery")
    with pytest.raises(UnknownSetting, match=r"task_acks_lat \(app.conf\) .* task_acks_late\?"):
        conf.task_acks_lat = True
    with pytest.raises(UnknownSetting):
        conf.update(task_acks_lat=True)
