"""Where workflows and handles meet an app: one slot holding how to find the current one.

Signatures and results may be made, unpickled or sent where no app is at hand. The app room fills
the slot once (``bind``); everybody else asks ``current``. Nothing else may live here.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from umbel.errors import ImproperlyConfigured

if TYPE_CHECKING:
    # Type checkers know defaults of type variables since PEP 696; Python itself since 3.13.
    from typing_extensions import TypeVar as TypeVarWithDefault

    R = TypeVarWithDefault("R", default=Any)
else:
    R = TypeVar("R")
"""The value of a run; ``AsyncResult(id)``, of which nobody knows the task, has any."""

R_co = TypeVar("R_co", covariant=True)


class RunHandle(Protocol[R_co]):
    """What sending gives back, as this floor knows it; in fact the app's AsyncResult."""

    id: str

    @property
    def state(self) -> str:
        """Where the run stands."""
        ...

    def ready(self) -> bool:
        """Tell whether the run is over."""
        ...

    def successful(self) -> bool:
        """Tell whether the run returned."""
        ...

    def failed(self) -> bool:
        """Tell whether the run raised."""
        ...

    def get(self, timeout: float | None = None) -> R_co:
        """Wait for the value."""
        ...

    def forget(self) -> None:
        """Delete what is stored."""
        ...

    def revoke(self) -> None:
        """See that it does not run."""
        ...

    def __await__(self) -> Generator[Any, None, R_co]: ...


class Host(Protocol):
    """The app, as far as the floors below it need one."""

    @property
    def tasks(self) -> Mapping[str, Any]:
        """The registered tasks by name."""
        ...

    def send_task(self, name: str, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Send a call by name and return its result handle."""
        ...

    async def asend_task(
        self, name: str, args: Any = None, kwargs: Any = None, **options: Any
    ) -> Any:
        """Do the same without blocking the event loop."""
        ...

    def AsyncResult(self, id: str, **kwargs: Any) -> Any:  # noqa: A002, N802 - Celery's names
        """Make the handle of a run that this app sends or reads."""
        ...

    def GroupResult(self, id: str, results: Any, **kwargs: Any) -> Any:  # noqa: A002, N802
        """Make the handle of a group that this app sends or reads."""
        ...

    def send_workflow(self, sig: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Send a workflow, given as the mapping in which it travels; return its handle."""
        ...

    async def asend_workflow(self, sig: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Do the same without blocking the event loop."""
        ...

    def run_workflow(self, sig: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Run a workflow here and now; return its eager handle."""
        ...


_find: Callable[[], Host] | None = None


def bind(find: Callable[[], Host]) -> None:
    """Say how the current app is found. Called once, when the app room is imported."""
    global _find  # noqa: PLW0603 - this slot is what the module is for
    _find = find


def current() -> Host:
    """Return the current app. Any thread may ask.

    Raises ImproperlyConfigured where no app can be found.
    """
    if _find is None:
        raise ImproperlyConfigured(
            "there is no current app: create one (`app = Umbel(...)`), or pass `app=` explicitly"
        )
    return _find()
