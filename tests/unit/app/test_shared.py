from __future__ import annotations

import copy
import gc
import pickle
import weakref
from typing import Any

import pytest

from umbel.app.celery_app import Celery
from umbel.app.shared import current_app, current_task, shared_task
from umbel.app.task import Task

from .conftest import new_app
from .mailbox import take_one, waiting


def shared_function(x: int) -> int:
    return x + 1


def test_a_shared_task_belongs_to_every_app() -> None:
    task = shared_task(shared_function)
    first, second = new_app("first"), new_app("second")
    assert isinstance(task, Task)
    assert task.name == f"{__name__}.shared_function"
    assert task(1) == 2
    assert first.tasks[task.name].app is first
    assert second.tasks[task.name].app is second
    second.set_current()
    task.delay(1)
    assert waiting(first) == (0, 0)
    take_one(second)
    first.set_current()
    task.delay(1)
    take_one(first)
    assert task.app is first


def test_options_and_apps_that_are_finalized_already() -> None:
    app = new_app()
    app.finalize()

    @shared_task(bind=True, name="shared.t", max_retries=7)
    def task(self: Any) -> Any:
        return self.max_retries

    assert app.tasks["shared.t"].max_retries == 7
    assert task() == 7
    task.max_retries = 8
    assert app.tasks["shared.t"].max_retries == 8
    assert shared_task(lambda: 1, name="direct")() == 1


def test_a_task_cannot_be_shared_again() -> None:
    app = new_app()
    with pytest.raises(TypeError, match="is a task already: shared_task decorates plain"):
        shared_task(app.task(shared_function))
    with pytest.raises(TypeError, match="is a task already"):
        shared_task(shared_task(shared_function))


def test_the_proxy_is_like_the_task() -> None:
    app = new_app()
    task = shared_task(shared_function)
    own = app.tasks[task.name]
    assert task == own
    assert own == task
    assert hash(task) == hash(own)
    assert repr(task) == repr(own) == str(task)
    assert "delay" in dir(task)
    assert pickle.loads(pickle.dumps(task)) is own
    assert copy.copy(task) is own
    assert task.s(1)["task"] == own.name
    task.note = 1  # type: ignore[attr-defined]  # any attribute
    assert own.note == 1  # type: ignore[attr-defined]  # the same
    del task.note
    assert not hasattr(own, "note")


def test_the_current_app_and_task() -> None:
    app = new_app("shop")
    assert current_app.main == "shop"
    assert current_app == app
    assert current_app._get_current_object() is app  # type: ignore[attr-defined]  # Celery's
    assert not current_task

    @app.task(name="t")
    def task() -> Any:
        return current_task.name, bool(current_task), current_task == task

    assert task() == ("t", True, True)
    assert task.apply().get() == ("t", True, True)


def test_tasks_of_one_app_on_later_ones_in_the_celery_profile_only() -> None:
    first = new_app("first", cls=Celery)
    first.task(name="lent")(shared_function)
    first.task(name="kept", shared=False)(shared_function)
    later = new_app("later", cls=Celery)
    assert "lent" in later.tasks
    assert "kept" not in later.tasks
    assert later.tasks["lent"].app is later
    own = new_app("own")
    own.task(name="private")(shared_function)
    assert "private" not in new_app("other").tasks
    first.close()
    assert "lent" not in new_app("after", cls=Celery).tasks


def test_an_app_that_is_gone_lends_nothing() -> None:
    app: Any = new_app("gone", cls=Celery, set_as_current=False)
    app.task(name="lent_by_gone")(shared_function)
    reference = weakref.ref(app)
    del app
    gc.collect()
    assert reference() is None
    assert "lent_by_gone" not in new_app("after", cls=Celery).tasks
