from __future__ import annotations

import importlib
from typing import Any, Optional

import pytest

from umbel.app.app import App
from umbel.app.pydantic_arguments import with_models
from umbel.errors import EncodeError, ImproperlyConfigured

from .mailbox import take_one

pydantic = pytest.importorskip("pydantic")


class Point(pydantic.BaseModel):  # type: ignore[misc,name-defined]  # imported if it is there
    x: int
    y: int = 0


class Secretive(pydantic.BaseModel):  # type: ignore[misc,name-defined]  # as above
    shown: int
    hidden: int = pydantic.Field(default=0, exclude=True)


def body(
    point: Point,
    other: Point | None = None,
    third: Optional[Point] = None,  # noqa: UP045 - the older spelling is the point
    plain: Any = None,
) -> Point:
    assert isinstance(point, Point)
    assert other is None or isinstance(other, Point)
    assert third is None or isinstance(third, Point)
    return Point(x=point.x + 1, y=point.y)


def test_data_becomes_models_and_models_become_data(app: App) -> None:
    task = app.task(name="t", pydantic=True)(body)
    assert task({"x": 1}) == {"x": 2, "y": 0}
    assert task(Point(x=1), other={"x": 5}, third={"x": 1}, plain={"x": 1}) == {"x": 2, "y": 0}
    assert task.apply(({"x": "3"},)).get() == {"x": 4, "y": 0}


def test_callers_may_give_models(app: App) -> None:
    task = app.task(name="t", pydantic=True)(body)
    task.delay(Point(x=1), other=Point(x=2))
    message = take_one(app).message
    assert (list(message.args), message.kwargs) == ([{"x": 1, "y": 0}], {"other": {"x": 2, "y": 0}})
    with pytest.raises(TypeError, match="missing a required argument: 'point'"):
        task.delay()


def test_a_model_that_would_not_come_back_equal_is_not_dumped(app: App) -> None:
    task = app.task(name="t", pydantic=True)(lambda secret: None)
    with pytest.raises(EncodeError):
        task.delay(Secretive(shown=1, hidden=2))


def test_what_does_not_validate_fails_the_task(app: App) -> None:
    result = app.task(name="t", pydantic=True)(body).apply(({"x": "many"},))
    assert result.state == "FAILURE"
    assert isinstance(result.result, pydantic.ValidationError)
    strict = app.task(name="s", pydantic=True, pydantic_strict=True)(body)
    assert strict.apply(({"x": "3"},)).state == "FAILURE"


def test_bound_and_coroutine_tasks(app: App) -> None:
    @app.task(name="t", bind=True, pydantic=True, pydantic_dump_kwargs={"include": {"x"}})
    async def task(self: Any, point: Point) -> Point:
        return Point(x=point.x, y=len(self.name))

    assert task.is_async
    assert task.apply(({"x": 1},)).get() == {"x": 1}


def test_annotations_that_cannot_be_evaluated(app: App) -> None:
    def function(point: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(ImproperlyConfigured, match="its annotations cannot be evaluated"):
        app.task(name="t", pydantic=True)(function)


def test_without_pydantic(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    task = app.task(name="t")(body)
    real = importlib.import_module

    def missing(name: str, *args: Any) -> Any:
        if name == "pydantic":
            raise ImportError("No module named 'pydantic'")
        return real(name, *args)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ImproperlyConfigured, match=r"pip install 'umbel\[pydantic\]'"):
        with_models(task)
