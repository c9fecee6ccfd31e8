"""What programs written for Celery reach for on an app, beside tasks and calls.

The base of ``App`` for these alone: bound classes of results, ``control``, ``log``, ``loader``,
connections to look at. What there is not, is said by name and with what takes its place.
"""

from __future__ import annotations

import importlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from umbel.app import group_results, handles, result_sets
from umbel.app.bound_classes import BoundClass
from umbel.app.broker_connection import BrokerConnection
from umbel.app.connections import Connected
from umbel.app.control import Control
from umbel.drivers.opening import open_broker

if TYPE_CHECKING:
    from umbel.app.app import App
    from umbel.app.delayed import Delayed
    from umbel.app.events import Events
    from umbel.app.log_setup import AppLogging
    from umbel.app.periodic import PeriodicTasks
    from umbel.app.quarantine import Quarantine
    from umbel.app.timetable import Timetable

_OWN_CONNECTIONS = (
    "connections are the app's own: tasks are sent by delay, apply_async and app.send_task, "
    "from any thread"
)
_ENGINE = "it is a part of Celery's own engine"

_ABSENT: dict[str, str] = {
    "Beat": f"{_ENGINE}; start a scheduler by umbel beat, or umbel.beat.service.Scheduler(app)",
    "amqp": f"{_ENGINE}; queues are the setting task_queues, routes the setting task_routes",
    "annotations": "use the setting task_annotations",
    "default_connection": _OWN_CONNECTIONS,
    "default_producer": _OWN_CONNECTIONS,
    "pool": _OWN_CONNECTIONS,
    "producer_or_acquire": _OWN_CONNECTIONS,
    "producer_pool": _OWN_CONNECTIONS,
    "setup_security": "signing messages is not built yet in this version",
    "steps": f"{_ENGINE}; watch the worker by the signals (umbel.app.signals)",
    "user_options": f"{_ENGINE}; give your own options to your own program, and settings by -X",
    "WorkController": f"{_ENGINE}; start a worker by app.worker_main(argv)",
    "Worker": f"{_ENGINE}; start a worker by app.worker_main(argv)",
}
"""Names that programs may look for, and why they are not there."""


class Familiar(Connected):
    """The less common names of an app."""

    @abstractmethod
    def import_modules(self) -> None:
        """Import every module that may define tasks."""

    # --- results ----------------------------------------------------------------------------------

    AsyncResult: BoundClass[handles.AsyncResult[Any]]
    """The class of handles: ``app.AsyncResult(id)`` is the handle of a run, by its id."""
    ResultSet: BoundClass[result_sets.ResultSet[Any]]
    """The class of handles of several runs together."""
    GroupResult: BoundClass[group_results.GroupResult[Any]]
    """The class of handles of groups; ``app.GroupResult.restore(id)`` finds a saved one."""

    def _bind_classes(self) -> None:
        app = self._app
        self.AsyncResult = BoundClass(handles.AsyncResult, app)
        self.ResultSet = BoundClass(result_sets.ResultSet, app)
        self.GroupResult = BoundClass(group_results.GroupResult, app, with_app=("restore",))

    # --- the schedule -----------------------------------------------------------------------------

    @cached_property
    def periodic(self) -> PeriodicTasks:
        """The schedule entries that the program defines."""
        from umbel.app.periodic import PeriodicTasks  # noqa: PLC0415 - few programs have any

        return PeriodicTasks(self._app)

    @cached_property
    def schedule(self) -> Timetable:
        """The schedule in its store: to look at, and to change while it runs."""
        from umbel.app.timetable import Timetable  # noqa: PLC0415 - as above

        return Timetable(self._app)

    def add_periodic_task(
        self,
        schedule: object,
        sig: Mapping[str, Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        name: str | None = None,
        **options: Any,
    ) -> str:
        """Have a task sent by a schedule; return the name of the entry.

        ``schedule`` is seconds, a timedelta, a crontab or another schedule, a cron line, an aware
        datetime. ``sig`` is a signature (``task.s(1, 2)``); ``args`` come before its own,
        ``kwargs`` win over its own. ``name`` is by default the signature's text. ``options`` are
        those of ``apply_async``, and ``catch_up``, ``deadline`` and ``jitter``. Raises UsageError.
        """
        return self.periodic.add(schedule, sig, args, kwargs, name, **options)

    # --- workers and logging ----------------------------------------------------------------------

    @cached_property
    def control(self) -> Control:
        """Revoking, purging, and seeing who is alive."""
        return Control(self._app)

    @cached_property
    def quarantine(self) -> Quarantine:
        """What workers set aside, to be looked at, sent again or dropped."""
        from umbel.app.quarantine import Quarantine  # noqa: PLC0415 - senders need it not

        return Quarantine(self._app)

    @cached_property
    def delayed(self) -> Delayed:
        """What rests until its time, to be looked at, cancelled or given another time."""
        from umbel.app.delayed import Delayed  # noqa: PLC0415 - as above

        return Delayed(self._app)

    @cached_property
    def events(self) -> Events:
        """Hearing what workers tell, and telling something oneself."""
        from umbel.app.events import Events  # noqa: PLC0415 - few programs watch or tell

        return Events(self._app)

    @cached_property
    def log(self) -> AppLogging:
        """Setting logging up as a worker does."""
        from umbel.app.log_setup import AppLogging  # noqa: PLC0415 - senders need no handlers

        return AppLogging(self._app)

    @cached_property
    def loader(self) -> Loader:
        """Importing the modules of tasks."""
        return Loader(self._app)

    # --- connections to look at -------------------------------------------------------------------

    def connection_for_write(self, url: str | None = None, **_: Any) -> BrokerConnection:
        """Return what can tell whether the broker is there to be sent to; opens nothing yet."""
        if url is not None:
            return BrokerConnection(lambda: open_broker(url, {}), url)
        chosen = self.settings.broker_write_url or self.settings.broker_url
        return BrokerConnection(lambda: self.connections.sending_broker, str(chosen))

    connection = broker_connection = connection_for_write

    def connection_for_read(self, url: str | None = None, **_: Any) -> BrokerConnection:
        """Return what can tell whether the broker is there to consume from; opens nothing yet."""
        if url is not None:
            return self.connection_for_write(url)
        chosen = self.settings.broker_read_url or self.settings.broker_url
        return BrokerConnection(lambda: self.connections.broker, str(chosen))

    def connection_or_acquire(
        self, connection: BrokerConnection | None = None, **_: Any
    ) -> BrokerConnection:
        """Return the connection given, or one to send by."""
        return connection if connection is not None else self.connection_for_write()

    # --- what there is not ------------------------------------------------------------------------

    @property
    def _app(self) -> App:
        return cast("App", self)

    if not TYPE_CHECKING:  # a checker would believe that every name is there

        def __getattr__(self, name: str) -> Any:
            reason = _ABSENT.get(name)
            if reason is None:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            raise AttributeError(f"An app has no {name!r} here: {reason}.")


class Loader:
    """Celery's name for what imports the modules of an app's tasks."""

    def __init__(self, app: App) -> None:
        self.app = app

    def import_default_modules(self) -> None:
        """Import every module that may define tasks. Raises TaskModuleFailed naming the module."""
        self.app.import_modules()

    def import_task_module(self, module: str) -> Any:
        """Import one module and return it."""
        return importlib.import_module(module)

    import_module = import_task_module
