"""The attributes of a task: what can be set in the decorator, on a class, or by a setting.

The base of ``task.Task``, and nothing else's. An attribute that is set nowhere is read from the
app's settings at the moment of reading, so it is right whenever the configuration was loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from umbel.app.current import get_current_app
from umbel.config import delivery_semantics
from umbel.config.settings import Settings
from umbel.errors import ImproperlyConfigured, MaxRetriesExceededError, OperationalError

if TYPE_CHECKING:
    from umbel.app.app import App
    from umbel.ports import ResultBackend


class FromSettings:
    """An attribute that is what the app's settings say, until it is set on a class or a task."""

    def __init__(self, read: Callable[[Settings], Any]) -> None:
        self._read = read

    def __get__(self, task: TaskAttributes | None, owner: type) -> Any:
        return None if task is None else self._read(task.app.settings)


class _CurrentApp:
    """The app of a task that no app has registered."""

    def __get__(self, task: TaskAttributes | None, owner: type) -> App:
        return get_current_app()


def _setting(name: str) -> Any:
    return FromSettings(lambda settings: getattr(settings, name))


def _acks_on_failure(settings: Settings) -> bool:
    own = settings.task_acks_on_failure
    return bool(settings.task_acks_on_failure_or_timeout if own is None else own)


def _acks_on_timeout(settings: Settings) -> bool:
    own = settings.task_acks_on_timeout
    return bool(settings.task_acks_on_failure_or_timeout if own is None else own)


class _FromDelivery(FromSettings):
    """An older word about acknowledgement: what ``delivery`` of the task means, where it is set."""

    def __init__(self, setting: str) -> None:
        super().__init__(lambda settings: getattr(settings, setting))
        self._word = setting.removeprefix("task_")

    def __get__(self, task: TaskAttributes | None, owner: type) -> Any:
        named = None if task is None else task.own_attribute("delivery")
        meant = delivery_semantics.SPELLED.get(named) if isinstance(named, str) else None
        if meant is not None:
            return meant[self._word]
        return super().__get__(task, owner)


class _Delivery(FromSettings):
    """The name of what a task gets, however it was spelled."""

    def __init__(self) -> None:
        super().__init__(lambda settings: settings.task_delivery)

    def __get__(self, task: TaskAttributes | None, owner: type) -> Any:
        return None if task is None else delivery_semantics.semantics_of(acks_late=task.acks_late)


class TaskAttributes:
    """Everything about a task that is data. Durations in seconds."""

    if TYPE_CHECKING:
        app: App
    else:
        app = _CurrentApp()

    name: str = ""
    """The registered name; given by the app when empty."""

    # --- retrying ---

    max_retries: int | None = 3
    """How often it may be retried; None: for ever."""
    default_retry_delay: float = 180
    autoretry_for: Sequence[type[BaseException]] = ()
    dont_autoretry_for: Sequence[type[BaseException]] = ()
    retry_kwargs: Mapping[str, Any] = {}
    retry_backoff: bool | float = False
    """Exponential delay; a number is its factor in seconds."""
    retry_backoff_max: float = 600
    retry_jitter: bool = True
    throws: Sequence[type[BaseException]] = ()
    """Exceptions that are expected: the run still fails, and is logged without a traceback."""

    # --- results ---

    ignore_result: bool = _setting("task_ignore_result")
    store_errors_even_if_ignored: bool = _setting("task_store_errors_even_if_ignored")
    store_eager_result: bool = _setting("task_store_eager_result")
    track_started: bool = _setting("task_track_started")
    trail: bool = True
    """Note what a run sends as its children."""
    resultrepr_maxsize: int = 1024

    # --- running ---

    delivery: str = _Delivery()  # type: ignore[assignment]  # descriptor
    """``at_least_once`` or ``at_most_once``. Not set: as the next ones or ``task_delivery`` say."""
    acks_late: bool = _FromDelivery("task_acks_late")  # type: ignore[assignment]  # descriptor
    acks_on_failure: bool = FromSettings(_acks_on_failure)  # type: ignore[assignment]  # descriptor
    acks_on_timeout: bool = FromSettings(_acks_on_timeout)  # type: ignore[assignment]  # descriptor
    acks_on_failure_or_timeout: bool = _setting("task_acks_on_failure_or_timeout")
    reject_on_worker_lost: bool | None = _FromDelivery(  # type: ignore[assignment]  # descriptor
        "task_reject_on_worker_lost"
    )
    retry_on_worker_lost: bool = _setting("task_retry_on_worker_lost")
    quarantine_failures: bool = _setting("task_quarantine_failures")
    """Set the message aside when the task fails for good, unless the error is among ``throws``."""
    time_limit: float | None = None
    """Hard limit; None: the worker's own (``task_time_limit``)."""
    soft_time_limit: float | None = None
    rate_limit: int | float | str | None = _setting("task_default_rate_limit")
    send_events: bool = True

    # --- sending ---

    queue: Any = None
    exchange: Any = None
    exchange_type: str | None = None
    routing_key: str | None = None
    delivery_mode: int | str | None = None
    priority: int | None = _setting("task_default_priority")
    expires: Any = None
    serializer: str = _setting("task_serializer")
    compression: str | None = _setting("task_compression")
    typing: bool = True
    """Check arguments where the task is called."""
    typing_of_values: bool | None = None
    """Check plain annotated types too; None: in the profile ``umbel``."""
    shared: bool = True

    pydantic: bool = False
    """Convert arguments and the return value by their annotations (needs pydantic)."""
    pydantic_strict: bool = False
    pydantic_context: Mapping[str, Any] | None = None
    pydantic_dump_kwargs: Mapping[str, Any] | None = None

    # --- what the runner asks, worked out when the task is made ---

    is_async: bool = False
    has_own_call: bool = False
    has_before_start: bool = False
    has_on_success: bool = False
    has_on_failure: bool = False
    has_on_retry: bool = False
    has_after_return: bool = False
    has_shadow_name: bool = False

    own_backend: ResultBackend | None = None
    """The result backend of this task alone; None: the app's."""

    def acks(self, end: Literal["failure", "timeout"]) -> bool:
        """Tell whether a late-acknowledged message is done with when its task ends this way.

        The task's own word comes first, then its word for both ends, then the settings.
        """
        for name in (f"acks_on_{end}", "acks_on_failure_or_timeout"):
            own = self.own_attribute(name)
            if own is not None:
                return bool(own)
        return self.acks_on_failure if end == "failure" else self.acks_on_timeout

    def own_attribute(self, name: str) -> Any:
        """Return an attribute that was set on the task or its class; None if only by a setting."""
        if name in self.__dict__:
            return self.__dict__[name]
        for cls in type(self).__mro__:
            if name in cls.__dict__:
                return None if isinstance(cls.__dict__[name], FromSettings) else getattr(self, name)
        return None

    def check_delivery(self) -> None:
        """Raise ImproperlyConfigured where ``delivery`` is unknown or contradicts an older word."""
        named = self.own_attribute("delivery")
        if named is None:
            return
        if named not in delivery_semantics.SEMANTICS:
            choices = " or ".join(map(repr, delivery_semantics.SEMANTICS))
            raise ImproperlyConfigured(
                f"Task {self.name}: delivery is {named!r}; it takes {choices}."
            )
        said = {word: self.own_attribute(word) for word in delivery_semantics.OLDER_WORDS}
        for word in delivery_semantics.contradictions(named, said):
            raise ImproperlyConfigured(
                f"Task {self.name}: delivery={named!r} and {word}={said[word]!r} contradict each "
                "other; keep one of them."
            )

    MaxRetriesExceededError = MaxRetriesExceededError
    OperationalError = OperationalError
