"""``celery.contrib.pytest``: Celery's fixtures, by ``pytest_plugins``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

from .testing.app import TestApp, setup_default_app

if TYPE_CHECKING:
    from umbel.app.app import App

    from .testing.worker import TestWorkController


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker ``celery`` known."""
    config.addinivalue_line("markers", "celery(**overrides): settings of the app of celery_app.")


@contextmanager
def _an_app(
    enable_logging: bool = False,
    use_celery_app_trap: bool = False,
    parameters: Mapping[str, Any] | None = None,
    **config: Any,
) -> Iterator[App]:
    app = TestApp(
        set_as_current=False, enable_logging=enable_logging, config=config, **(parameters or {})
    )
    with setup_default_app(app, use_trap=use_celery_app_trap):
        yield app
    app.close()


@pytest.fixture(scope="session")
def use_celery_app_trap() -> bool:
    """Whether using the current app is an error in tests."""
    return False


@pytest.fixture(scope="session")
def celery_enable_logging() -> bool:
    """Whether logging is set up; override it."""
    return False


@pytest.fixture(scope="session")
def celery_includes() -> Sequence[str]:
    """Modules to import before a worker starts; override it."""
    return ()


@pytest.fixture(scope="session")
def celery_worker_pool() -> str:
    """Name of the pool; override it."""
    return "solo"


@pytest.fixture(scope="session")
def celery_config() -> Mapping[str, Any]:
    """Settings of the app; override it."""
    return {}


@pytest.fixture(scope="session")
def celery_parameters() -> Mapping[str, Any]:
    """Arguments of the app; override it."""
    return {}


@pytest.fixture(scope="session")
def celery_worker_parameters() -> Mapping[str, Any]:
    """Arguments of ``start_worker``; override it."""
    return {}


@pytest.fixture(scope="session")
def celery_class_tasks() -> Sequence[Any]:
    """Class-based tasks to register; override it."""
    return ()


@pytest.fixture(scope="session")
def celery_session_app(
    celery_config: Mapping[str, Any],
    celery_parameters: Mapping[str, Any],
    celery_enable_logging: bool,
    use_celery_app_trap: bool,
) -> Iterator[App]:
    """An app for all tests."""
    with _an_app(
        enable_logging=celery_enable_logging,
        use_celery_app_trap=use_celery_app_trap,
        parameters=celery_parameters,
        **celery_config,
    ) as app:
        yield app


@pytest.fixture(scope="session")
def celery_session_worker(
    celery_session_app: App,
    celery_includes: Sequence[str],
    celery_class_tasks: Sequence[Any],
    celery_worker_pool: str,
    celery_worker_parameters: Mapping[str, Any],
) -> Iterator[TestWorkController]:
    """A worker for all tests."""
    with _worker(
        celery_session_app,
        celery_includes,
        celery_class_tasks,
        pool=celery_worker_pool,
        **celery_worker_parameters,
    ) as worker:
        yield worker


@pytest.fixture
def celery_app(
    request: Any,
    celery_config: Mapping[str, Any],
    celery_parameters: Mapping[str, Any],
    celery_enable_logging: bool,
    use_celery_app_trap: bool,
) -> Iterator[App]:
    """An app for one test; the marker ``celery`` gives it settings."""
    mark = request.node.get_closest_marker("celery")
    config = {**celery_config, **(mark.kwargs if mark else {})}
    with _an_app(
        enable_logging=celery_enable_logging,
        use_celery_app_trap=use_celery_app_trap,
        parameters=celery_parameters,
        **config,
    ) as app:
        yield app


@pytest.fixture
def celery_worker(
    celery_app: App,
    celery_includes: Sequence[str],
    celery_worker_pool: str,
    celery_worker_parameters: Mapping[str, Any],
) -> Iterator[TestWorkController]:
    """A worker for one test."""
    with _worker(
        celery_app, celery_includes, (), pool=celery_worker_pool, **celery_worker_parameters
    ) as worker:
        yield worker


@pytest.fixture
def depends_on_current_app(celery_app: App) -> None:
    """Make the test's app the current one."""
    celery_app.set_current()


@contextmanager
def _worker(
    app: App, includes: Sequence[str], class_tasks: Sequence[Any], **parameters: Any
) -> Iterator[TestWorkController]:
    from umbel_celery.utils.imports import import_from_cwd  # noqa: PLC0415 - every pytest run loads this file

    from .testing.worker import start_worker  # noqa: PLC0415 - as above

    import_module(".testing.tasks", __package__)  # the task that start_worker asks with
    for module in includes:
        import_from_cwd(module)
    for task in class_tasks:
        app.register_task(task)
    with start_worker(app, **parameters) as worker:
        yield worker


__all__ = [
    "celery_app",
    "celery_class_tasks",
    "celery_config",
    "celery_enable_logging",
    "celery_includes",
    "celery_parameters",
    "celery_session_app",
    "celery_session_worker",
    "celery_worker",
    "celery_worker_parameters",
    "celery_worker_pool",
    "depends_on_current_app",
    "use_celery_app_trap",
]
