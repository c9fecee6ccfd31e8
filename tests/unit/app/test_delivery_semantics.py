"""Delivery by name: what a task gets, in its own words, the settings', and the older words."""

from __future__ import annotations

import pytest

from umbel import Umbel
from umbel.app.banner import delivery_promises
from umbel.errors import ImproperlyConfigured


def task_of(app, **own):
    @app.task(name="shop.pay", **own)
    def pay() -> None: ...

    app.finalize()
    return pay


def app_with(profile="umbel", **settings):
    return Umbel("shop", broker="memory://shop", profile=profile, **settings)


CASES = [
    # profile, settings, the task's own, (name, acks_late, reject_on_worker_lost)
    ("umbel", {}, {}, ("at_least_once", True, True)),
    ("celery", {}, {}, ("at_most_once", False, False)),
    ("celery", {"task_delivery": "at_least_once"}, {}, ("at_least_once", True, True)),
    ("umbel", {"task_delivery": "at_most_once"}, {}, ("at_most_once", False, False)),
    ("umbel", {}, {"delivery": "at_most_once"}, ("at_most_once", False, False)),
    ("celery", {}, {"delivery": "at_least_once"}, ("at_least_once", True, True)),
    ("celery", {}, {"acks_late": True}, ("at_least_once", True, False)),
    ("umbel", {}, {"acks_late": False}, ("at_most_once", False, True)),
    # A task's own word wins over the settings, in whichever spelling.
    (
        "umbel",
        {"task_delivery": "at_most_once"},
        {"delivery": "at_least_once"},
        ("at_least_once", True, True),
    ),
    (
        "umbel",
        {"task_delivery": "at_most_once"},
        {"acks_late": True},
        ("at_least_once", True, False),
    ),
    # The older word refines the name where it does not contradict it.
    (
        "celery",
        {"task_delivery": "at_least_once", "task_reject_on_worker_lost": False},
        {},
        ("at_least_once", True, False),
    ),
    (
        "celery",
        {},
        {"delivery": "at_least_once", "reject_on_worker_lost": False},
        ("at_least_once", True, False),
    ),
]


@pytest.mark.parametrize(("profile", "settings", "own", "expected"), CASES)
def test_what_a_task_gets(profile, settings, own, expected):
    task = task_of(app_with(profile, **settings), **own)
    assert (task.delivery, task.acks_late, bool(task.reject_on_worker_lost)) == expected


def test_annotations_may_name_it():
    app = app_with(task_annotations={"shop.pay": {"delivery": "at_most_once"}})
    assert task_of(app).acks_late is False


def test_it_can_be_changed_on_the_task():
    task = task_of(app_with())
    task.delivery = "at_most_once"
    assert task.acks_late is False


WRONG = [
    (
        {"delivery": "at_least_once", "acks_late": False},
        r"Task shop\.pay: delivery='at_least_once' and acks_late=False contradict each other; "
        "keep one of them",
    ),
    ({"delivery": "at_most_once", "acks_late": True}, "acks_late=True contradict"),
    ({"delivery": "at_most_once", "reject_on_worker_lost": True}, "reject_on_worker_lost=True"),
    ({"delivery": "at_most_once", "acks_on_timeout": False}, "acks_on_timeout=False contradict"),
    (
        {"delivery": "at_most_once", "acks_on_failure_or_timeout": False},
        "acks_on_failure_or_timeout=False",
    ),
    (
        {"delivery": "exactly_once"},
        r"Task shop\.pay: delivery is 'exactly_once'; it takes 'at_least_once' or 'at_most_once'",
    ),
]


@pytest.mark.parametrize(("own", "says"), WRONG)
def test_a_task_that_contradicts_itself_is_an_error(own, says):
    with pytest.raises(ImproperlyConfigured, match=says):
        task_of(app_with(), **own)


def test_settings_that_contradict_each_other_are_an_error_that_names_both():
    app = app_with("celery", task_delivery="at_most_once", task_acks_late=True)
    says = (
        r"task_delivery = 'at_most_once' \(.+\) and task_acks_late = True \(.+\): "
        "these contradict each other; keep one of them"
    )
    with pytest.raises(ImproperlyConfigured, match=says):
        _ = app.settings


def test_a_setting_that_is_no_semantics_is_an_error():
    with pytest.raises(
        ImproperlyConfigured, match=r"task_delivery .* is 'once'; it must be one of"
    ):
        _ = app_with(task_delivery="once").settings


def test_what_each_task_gets_can_be_told():
    app = app_with(task_max_deliveries=4)
    task_of(app, delivery="at_most_once")

    @app.task(name="shop.send")
    def send() -> None: ...

    @app.task(name="shop.watch", reject_on_worker_lost=False)
    def watch() -> None: ...

    assert delivery_promises(app) == {
        "shop.pay": "at most once (early ack)",
        "shop.send": "at least once (late ack, up to 4 deliveries)",
        "shop.watch": "at least once, but failed if its process dies (late ack)",
    }
