"""Every setting is read, or named as one without effect; and who sets such a one is told."""

from __future__ import annotations

import re
from pathlib import Path

import umbel
from umbel.config.conf import Conf
from umbel.config.settings import NAMES
from umbel.config.without_effect import WITHOUT_EFFECT, set_without_effect, told_without_effect

HOUSE = Path(umbel.__file__).parent
READ_BY_NAME = frozenset({"bus_names.py", "composing.py", "driver_options.py"})
"""The rooms of config/ that turn settings into something others use."""
NAMED_ELSEWHERE = frozenset(
    {
        "result_accept_content",  # in the text of an error
        "result_chord_join_timeout",  # an option of the Redis driver has the same name
        "task_default_rate_limit",  # an attribute of tasks, which nobody acts on
        "task_retry_on_worker_lost",  # the same
        "visibility_timeout",  # an option of the Redis driver has the same name
    }
)


def text_of_the_house() -> str:
    pages = [
        page
        for page in HOUSE.rglob("*.py")
        if page.parent != HOUSE / "config" or page.name in READ_BY_NAME
    ]
    return "\n".join(page.read_text(encoding="utf-8") for page in pages)


def test_every_setting_is_read_or_named_as_one_without_effect() -> None:
    words = set(re.findall(r"\w+", text_of_the_house()))
    parts = {f"broker_{part}" for part in ("host", "port", "user", "password", "vhost")}
    read = {name for name in NAMES if name in words} | parts
    assert set(NAMES) - read - WITHOUT_EFFECT == set()
    assert (read & WITHOUT_EFFECT) - NAMED_ELSEWHERE == set()
    assert set(NAMES) >= WITHOUT_EFFECT


def vain(**changes: object) -> list[str]:
    return set_without_effect(Conf(profile="celery", changes=changes))


def test_what_somebody_set_in_vain_is_found() -> None:
    assert vain(task_protocol=1, broker_pool_limit=3000, task_acks_late=True) == [
        "broker_pool_limit",
        "task_protocol",
    ]
    assert vain(beat_sync_every=5) == ["beat_sync_every"]


def test_defaults_and_what_umbel_does_anyway_are_not_worth_a_word() -> None:
    assert vain() == []
    assert vain(task_protocol=2, broker_connection_retry_on_startup=True) == []
    assert vain(worker_disable_rate_limits=True, broker_connection_max_retries=None) == []
    assert vain(broker_connection_retry_on_startup=False) == ["broker_connection_retry_on_startup"]


def test_the_sentence() -> None:
    assert told_without_effect([]) is None
    assert told_without_effect(["task_protocol"], ["c", "a", "d", "b"]) == (
        "Set, and without effect in this version of Umbel: task_protocol, "
        "rate_limit of a, b, c and 1 more"
    )
