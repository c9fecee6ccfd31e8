"""The profile of an app is that of its settings, whoever chose it."""

from __future__ import annotations

import pytest

from umbel import Umbel
from umbel.app.celery_app import Celery
from umbel.errors import AlreadyRegistered, DuplicateTaskNameWarning


def app_with(kind=Umbel, **settings):
    return kind("shop", broker="memory://", set_as_current=False, **settings)


def both(app):
    return app.profile, app.settings.profile


def test_the_class_and_the_constructor_choose_it():
    assert both(app_with()) == ("umbel", "umbel")
    assert both(app_with(Celery)) == ("celery", "celery")
    assert both(app_with(profile="celery")) == ("celery", "celery")


@pytest.mark.parametrize("kind", [Umbel, Celery])
def test_the_environment_chooses_it_before_and_after_settings_are_read(monkeypatch, kind):
    other = "celery" if kind is Umbel else "umbel"
    monkeypatch.setenv("UMBEL_PROFILE", other)
    app = app_with(kind)
    assert app.profile == other
    assert both(app) == (other, other)


def test_the_program_chooses_it_and_nothing_is_read_for_that():
    class Source:
        @property
        def task_acks_late(self):
            raise AssertionError("read too early")

    app = app_with(config_source=Source())
    app.conf.profile = "celery"
    assert app.profile == "celery"


def test_a_source_chooses_it_once_it_is_read():
    app = app_with(config_source={"profile": "celery"})
    assert app.settings.profile == "celery"
    assert app.profile == "celery"


def test_it_decides_what_a_second_task_of_one_name_is(monkeypatch):
    def one():
        """A task."""

    def other():
        """Another task."""

    monkeypatch.setenv("UMBEL_PROFILE", "umbel")
    strict = app_with(Celery)
    strict.task(one, name="one")
    with pytest.raises(AlreadyRegistered):
        strict.task(other, name="one")
    monkeypatch.setenv("UMBEL_PROFILE", "celery")
    lenient = app_with()
    lenient.task(one, name="one", shared=False)
    with pytest.warns(DuplicateTaskNameWarning):
        lenient.task(other, name="one", shared=False)
