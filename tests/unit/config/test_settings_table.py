"""The table of settings against what the real Celery 5.7 says about its own."""

from __future__ import annotations

import json
from math import inf
from pathlib import Path
from typing import Any

import msgspec
import pytest

from umbel.config.celery_names import NEW_NAMES, OLD_NAMES
from umbel.config.converting import WRITTEN_TYPES, convert
from umbel.config.settings import NAMES, UMBEL_DEFAULTS, Settings, defaults
from umbel.errors import ImproperlyConfigured

CELERY = json.loads(Path(__file__).with_name("celery_settings.json").read_text())


def plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return "inf" if value == inf else value


@pytest.mark.parametrize("name", sorted(CELERY["defaults"]))
def test_every_setting_of_celery_is_there_with_its_default(name: str) -> None:
    assert plain(getattr(defaults("celery"), name)) == CELERY["defaults"][name]


def test_every_old_name_that_celery_reads_is_translated() -> None:
    old_names = {name: names[0] for name, names in CELERY["old_names"].items()}
    assert {name: OLD_NAMES[name] for name in old_names} == old_names
    assert set(NEW_NAMES.values()) - set(old_names) == {"db_reuse_max"}


def test_the_profiles_differ_only_where_the_table_says() -> None:
    umbel, celery = defaults("umbel"), defaults("celery")
    different = {name for name in NAMES if getattr(umbel, name) != getattr(celery, name)}
    assert different == set(UMBEL_DEFAULTS)
    assert umbel.task_default_queue == celery.task_default_queue == "celery"


def test_the_umbel_profile_is_safe_by_default() -> None:
    umbel = defaults("umbel")
    assert umbel.task_acks_late
    assert umbel.task_reject_on_worker_lost
    assert umbel.task_max_deliveries == 3
    assert umbel.task_delay_in_store
    assert umbel.worker_shutdown_timeout == 25.0
    assert umbel.broker_url == umbel.result_backend == "sqlite:///umbel.sqlite3"


def test_every_default_is_a_value_that_the_setting_takes() -> None:
    for profile in ("umbel", "celery"):
        for name, value in msgspec.structs.asdict(defaults(profile)).items():
            stored = convert(name, value)
            # Two of Celery's defaults are a zero that this table stores as None.
            assert stored == value or (stored is None and value == 0), name


def test_a_profile_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"no profile 'celry': profile is 'umbel'"):
        defaults("celry")


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        defaults("umbel").task_acks_late = False  # type: ignore[misc] # what is tested


def test_every_type_has_a_converter() -> None:
    assert set(WRITTEN_TYPES) == set(Settings.__struct_fields__) == set(NAMES)
