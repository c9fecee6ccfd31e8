from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from umbel.app import current
from umbel.app.app import App
from umbel.app.celery_app import Celery


def new_app(main: str | None = "x", cls: type[App] = App, **settings: Any) -> App:
    url = f"memory://{uuid4().hex}"
    return cls(main, **{"broker": url, "backend": url, **settings})


@pytest.fixture
def app() -> Iterator[App]:
    with new_app() as made:
        yield made


@pytest.fixture
def celery_app() -> Iterator[App]:
    with new_app(cls=Celery) as made:
        yield made


@pytest.fixture(autouse=True)
def _no_app_left_current(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test begins and ends without a current app and without shared tasks."""
    for variable in ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND", "CELERY_CONFIG_MODULE"):
        monkeypatch.delenv(variable, raising=False)
    current.make_current(None)
    current.make_default(None)
    before = list(current._process.shared), list(current._process.lent)
    yield
    current._process.shared, current._process.lent = before
    current.make_current(None)
    current.make_default(None)
