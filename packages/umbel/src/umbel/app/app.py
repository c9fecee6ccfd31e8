"""The app: its configuration, its tasks, and the way to its broker and results.

Programs make one (``Umbel(...)``) and decorate functions with ``app.task``. Nothing is read or
opened before it is needed: the configuration at the first use of a setting, a connection at the
first message. Any thread may use an app; configure it before they do.
"""

from __future__ import annotations

import inspect
import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from types import TracebackType
from typing import Any, Self

from umbel.app import (
    builtin_tasks,
    bulk,
    context,
    current,
    handles,
    launching,
    making,
    sending,
)
from umbel.app import task as task_room
from umbel.app.decorating import Decorating
from umbel.app.discovery import Discovery, Packages, import_task_modules
from umbel.app.options import checked_arguments
from umbel.app.registry import TaskRegistry
from umbel.app.routing import Router
from umbel.app.send_plan import SendPlan
from umbel.app.signals import Signal
from umbel.app.workflow_sending import WorkflowSending
from umbel.config.conf import Conf
from umbel.config.settings import Settings
from umbel.config.urls import censored
from umbel.errors import AlwaysEagerIgnored
from umbel.model.message import EncodedMessage, TaskMessage
from umbel.model.queues import Outgoing
from umbel.ports import Middleware
from umbel.version import __version__
from umbel.wire import task_message
from umbel.wire.serializers import SERIALIZERS
from umbel.wire.task_v2 import encode
from umbel.workflows import binding
from umbel.workflows.signature import Signature, maybe_signature, signature

_MOST_NAMES = 1000
"""Plans kept for names that are sent by ``send_task``."""


class App(Decorating, WorkflowSending):
    """One configuration, its tasks, and its connections. Exported as ``Umbel``."""

    default_profile = "umbel"
    task_cls: Any = task_room.Task

    def __init__(
        self,
        main: str | None = None,
        *,
        broker: str | Sequence[str] | None = None,
        backend: str | None = None,
        include: Sequence[str] | None = None,
        config_source: Any = None,
        namespace: str | None = None,
        config_source_silent: bool = False,
        task_cls: Any = None,
        set_as_current: bool = True,
        autofinalize: bool = True,
        strict_typing: bool = True,
        changes: Mapping[str, Any] | None = None,
        tasks: TaskRegistry | type[TaskRegistry] | None = None,
        fixups: Sequence[Callable[[App], Any]] | None = None,
        profile: str | None = None,
        **settings: Any,
    ) -> None:
        """Make an app; nothing is read or opened yet.

        ``main`` stands in for ``__main__`` in the names of tasks that are defined in the script
        being run. ``broker`` and ``backend`` are URLs; ``include`` names modules that workers
        import. ``config_source`` and ``namespace`` are as in ``config_from_object``. ``profile``
        chooses the defaults: ``umbel`` (safe) or ``celery`` (as Celery 5.7). Other keywords are
        settings by their lower-case names; they win over the configuration source. Raises
        ImproperlyConfigured for a setting that does not exist.
        """
        self.main = main
        self.strict_typing = strict_typing
        self.autofinalize = autofinalize
        self.middleware: list[Middleware] = []
        """What stands around every send and run; the first is outermost."""
        given = {
            "broker_url": broker,
            "result_backend": backend,
            "include": include,
            **settings,
            **(changes or {}),
        }
        self.conf = Conf(
            profile=profile or self.default_profile,
            changes={name: value for name, value in given.items() if value is not None},
            source=config_source,
            namespace=namespace,
            silent=config_source_silent,
        )
        own = TaskRegistry if tasks is None else tasks
        self.registry = own() if isinstance(own, type) else own
        """The tasks so far; ``tasks`` is the same after finalization."""
        self._state = "open"
        """Then ``finalizing``, at last ``finalized``."""
        self._discoveries: list[Discovery] = []
        self._names: dict[str, SendPlan] = {}
        self._renew_locks()
        self._router: tuple[Settings, Router] | None = None
        self._accept: tuple[Settings, frozenset[str]] | None = None
        self._zone: tuple[Settings, tzinfo] | None = None
        self._make_signals()
        self._make_task_classes(task_cls)
        self._bind_classes()
        current.enter(self)
        if set_as_current:
            self.set_current()
        self.on_init()
        for fixup in fixups or ():
            fixup(self)

    def _make_signals(self) -> None:
        self.on_configure = Signal(name="app.on_configure")
        self.on_after_configure = Signal(("source",), name="app.on_after_configure")
        self.on_after_finalize = Signal(name="app.on_after_finalize")
        self.on_after_fork = Signal(name="app.on_after_fork")
        self.conf.on_configure.append(lambda _: _ignore(self.on_configure.send(sender=self)))
        self.conf.on_after_configure.append(
            lambda conf: _ignore(self.on_after_configure.send(sender=self, source=conf))
        )

    def _make_task_classes(self, task_cls: Any) -> None:
        base = making.class_from(task_cls or self.task_cls)
        self.Task = making.bound_class(self, base, is_async=False)
        """The base class of this app's tasks."""
        self._async_class = making.bound_class(self, base, is_async=True)

    def _renew_locks(self) -> None:
        self._lock = threading.RLock()

    def on_init(self) -> None:
        """Called at the end of construction, for subclasses."""

    # --- configuration ----------------------------------------------------------------------------

    @property
    def settings(self) -> Settings:
        """The settings now in force: the same frozen value until one changes."""
        return self.conf.settings

    def config_from_object(
        self, obj: Any, silent: bool = False, force: bool = False, namespace: str | None = None
    ) -> None:
        """Take settings from a module or its name, ``pkg.mod:attr``, a class, object or mapping.

        It is read when a setting is first needed, or now with ``force``. ``silent`` ignores a
        module that does not exist. ``namespace`` is the prefix of the names.
        """
        self.conf.set_source(obj, silent=silent, force=force, namespace=namespace)

    def config_from_envvar(
        self, variable_name: str, silent: bool = False, force: bool = False
    ) -> bool:
        """Take settings from the module that an environment variable names.

        Raises ImproperlyConfigured when it is not set, unless ``silent``.
        """
        return self.conf.set_source_from_variable(variable_name, silent=silent, force=force)

    def config_from_cmdline(self, argv: Sequence[str], namespace: str = "celery") -> None:
        """Take settings from words such as ``worker.concurrency=2``; they win over everything."""
        self.conf.set_from_command_line(argv, namespace)

    def add_defaults(self, fun: Any) -> None:
        """Add settings that everything else wins over: a mapping, or a callable for one."""
        self.conf.add_defaults(fun)

    @property
    def timezone(self) -> tzinfo:
        """The zone of ``now``, of schedules and of times in messages."""
        settings = self.settings
        if self._zone is None or self._zone[0] is not settings:
            self._zone = settings, _zone_of(settings)
        return self._zone[1]

    def now(self) -> datetime:
        """Return the current time in the app's zone, aware."""
        return datetime.now(self.timezone)

    def uses_utc_timezone(self) -> bool:
        """Tell whether the app's zone is UTC."""
        return self.timezone is UTC

    # --- tasks ------------------------------------------------------------------------------------

    @property
    def profile(self) -> str:
        """The profile of the settings in force; before a source is read, the one known so far."""
        return self.conf.profile_so_far()

    @property
    def tasks(self) -> TaskRegistry:
        """The tasks by name; finalizes the app. An unknown name raises NotRegistered."""
        if self._state != "finalized":
            self.finalize(auto=True)
        return self.registry

    def make_task(self, function: Callable[..., Any], options: dict[str, Any]) -> Any:
        """Return the task for a function; what ``app.task`` does."""
        task = making.make_task(self, function, options)
        if self.profile == "celery" and options.get("shared", True):
            # Celery: tasks of one app appear on every app that is finalized later.
            current.lend(self, lambda app: making.make_task(app, function, options, lent=True))
        return task

    def class_for_tasks(
        self, base: Any, function: Callable[..., Any]
    ) -> type[task_room.Task[..., Any]]:
        """Return the class of the task for a function."""
        if base is not None:
            return making.class_from(base)
        return self._async_class if inspect.iscoroutinefunction(function) else self.Task

    def register_task(
        self, task: task_room.Task[..., Any] | type[task_room.Task[..., Any]], **options: Any
    ) -> task_room.Task[..., Any]:
        """Register a class-based task, a class or an instance of one; return the instance."""
        adopted = making.adopt(self, task)
        for name, value in options.items():
            adopted.set_attribute(name, value)
        return adopted

    def gen_task_name(self, name: str, module: str) -> str:
        """Return the automatic name of a task. Override it to name them otherwise; keep it pure."""
        return making.name_in(self, name, module)

    @property
    def finalized(self) -> bool:
        """Whether ``finalize`` was here."""
        return self._state == "finalized"

    def finalize(self, auto: bool = False) -> None:
        """Construct shared tasks and apply the configuration to all; afterwards it does nothing.

        Happens by itself at the first use of a task, unless ``autofinalize`` is off: then an
        automatic call raises RuntimeError.
        """
        if self._state == "finalized":
            return
        with self._lock:
            if self._state != "open":  # another thread was faster, or this one is in the middle
                return
            if auto and not self.autofinalize:
                raise RuntimeError(
                    "This app was made with autofinalize=False: call app.finalize() once all "
                    "tasks are defined, before using any."
                )
            self._state = "finalizing"
            try:
                builtin_tasks.construct(self)
                for construct in current.shared_constructors(self):
                    construct(self)
                for task in list(self.registry.values()):
                    making.bind(self, task)
            except BaseException:
                self._state = "open"
                raise
            self._state = "finalized"
        self.on_after_finalize.send(sender=self)

    def autodiscover_tasks(
        self,
        packages: Packages = None,
        related_name: str | None = "tasks",
        force: bool = False,
    ) -> None:
        """Have ``<package>.<related_name>`` imported for each package that has such a module.

        ``packages`` may be a callable; None means the installed apps of Django, where it is used.
        Nothing is imported before ``import_modules`` (a worker calls it), unless ``force``.
        """
        if isinstance(packages, str):
            packages = [packages]
        discovery = Discovery(packages, related_name)
        if force:
            discovery.perform()
        else:
            self._discoveries.append(discovery)

    def import_modules(self) -> None:
        """Import every module that may define tasks. Raises TaskModuleFailed naming the module."""
        import_task_modules(self, self._discoveries)

    # --- sending ----------------------------------------------------------------------------------

    def send_task(
        self,
        name: str,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> handles.AsyncResult[Any]:
        """Send a task by name, whoever defines it; options as ``Task.apply_async``.

        Arguments are not checked. Where the name is registered here, the task's own options
        (queue, limits, ...) are the defaults.
        """
        args, kwargs = self._ready_to_send(name, args, kwargs)
        return sending.send(self.plan_for(name), args, kwargs, options)

    async def asend_task(
        self,
        name: str,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> handles.AsyncResult[Any]:
        """Do as ``send_task``, without blocking the event loop."""
        args, kwargs = self._ready_to_send(name, args, kwargs)
        return await sending.asend(self.plan_for(name), args, kwargs, options)

    def _ready_to_send(
        self, name: str, args: Any, kwargs: Any
    ) -> tuple[Sequence[Any], Mapping[str, Any]]:
        if self.settings.task_always_eager:
            warnings.warn(
                f"task_always_eager is on, and {name} is sent all the same: send_task knows a name "
                "and has no function to run.",
                AlwaysEagerIgnored,
                stacklevel=3,
            )
        return checked_arguments(args, kwargs, lambda: f"Task {name}")

    def send_signature(
        self, call: Mapping[str, Any], args: Sequence[Any] = (), **options: Any
    ) -> Any:
        """Send a signature, given as one or as the mapping in which it travels."""
        found = maybe_signature(call, app=self)
        assert found is not None
        return found.apply_async(args, **options)

    def send_many(self, signatures: Iterable[Signature[Any]], **options: Any) -> Any:
        """Send any number of signatures in few round trips; return their ResultSet.

        The iterable is consumed in chunks, so memory stays bounded; options as ``apply_async``.
        """
        return bulk.send_many(self, signatures, **options)

    def send_stream(
        self, signatures: Iterable[Signature[Any]], **options: Any
    ) -> Iterator[handles.AsyncResult[Any]]:
        """Do as ``send_many``, yielding handles as chunks are sent."""
        return bulk.send_stream(self, signatures, **options)

    async def asend_many(self, signatures: Iterable[Signature[Any]], **options: Any) -> Any:
        """Do as ``send_many``, without blocking the event loop."""
        return await bulk.asend_many(self, signatures, **options)

    def signature(self, *args: Any, **kwargs: Any) -> Signature[Any]:
        """Return a signature that is sent through this app."""
        return signature(*args, **{"app": self, **kwargs})

    def plan_for(self, name: str) -> SendPlan:
        """Return what all messages for a task of this name have in common."""
        task = dict.get(self.tasks, name)
        if task is not None:
            return task.plan
        plan = self._names.get(name)
        if plan is None or plan.settings is not self.settings:
            if len(self._names) >= _MOST_NAMES:
                self._names.clear()
            plan = self._names[name] = SendPlan(self, name, None)
        return plan

    @property
    def router(self) -> Router:
        """Who says which queue a task goes to."""
        settings = self.settings
        if self._router is None or self._router[0] is not settings:
            self._router = settings, Router(settings)
        return self._router[1]

    def outgoing(self, message: TaskMessage, options: Mapping[str, Any] | None = None) -> Outgoing:
        """Return a message routed and encoded; ``options`` of routing and encoding count."""
        return self.plan_for(message.task).call_for(message, options or {}).outgoing()

    def encode(
        self,
        message: TaskMessage,
        *,
        serializer: str | None = None,
        compression: str | None = None,
    ) -> EncodedMessage:
        """Return a message as it travels. Raises EncodeError."""
        settings = self.settings
        return encode(
            message,
            serializer=SERIALIZERS.get(serializer or settings.task_serializer),
            compression=compression or settings.task_compression,
        )

    def decode(self, encoded: EncodedMessage) -> TaskMessage:
        """Return what the sender meant. Raises DecodeError, ContentDisallowed."""
        settings = self.settings
        accept = self._accept
        if accept is None or accept[0] is not settings:
            accept = settings, SERIALIZERS.content_types(settings.accept_content)
            self._accept = accept
        return task_message.decode(
            encoded, accept=accept[1], serializers=SERIALIZERS, timezone=self.timezone
        )

    # --- the current app and task -----------------------------------------------------------------

    def set_current(self) -> None:
        """Make this the current app, which ``current_app`` and shared tasks mean."""
        current.make_current(self)

    def set_default(self) -> None:
        """Make this the app of threads and programs that have made none current."""
        current.make_default(self)

    @property
    def current_task(self) -> task_room.Task[..., Any] | None:
        """The task running here, or None."""
        running = context.current.get()
        return None if running is None else running.task

    @property
    def current_worker_task(self) -> task_room.Task[..., Any] | None:
        """The task running here because of a message: plain and eager calls do not count."""
        running = context.worker_run()
        return None if running is None else running.task

    # --- running ----------------------------------------------------------------------------------

    def worker_main(self, argv: Sequence[str] | None = None) -> None:
        """Run a worker in this process until it is stopped.

        ``argv`` are the options of ``umbel worker``, with or without that word; None means those
        this program was started with. Raises SystemExit when the worker could not run.
        """
        launching.run_commands(self, launching.worker_words(argv))

    def start(self, argv: Sequence[str] | None = None) -> None:
        """Run the command line with this app, by default with this program's own words."""
        launching.run_commands(self, launching.command_words(argv))

    def bugreport(self) -> str:
        """Return versions and settings as text, secrets masked."""
        import platform  # noqa: PLC0415 - 1.3 ms of every program's start, for this text only

        settings = self.settings
        results = settings.result_backend
        return "\n".join(
            (
                f"software -> umbel:{__version__} py:{platform.python_version()}",
                f"platform -> system:{platform.system()} arch:{platform.machine()}",
                f"app      -> {self.main or 'default'} (profile {settings.profile})",
                f"settings -> transport:{censored(str(settings.broker_url))} "
                f"results:{censored(str(results)) if results else 'disabled'}",
                "",
                self.conf.humanize(with_defaults=False, censored=True),
            )
        )

    def close(self) -> None:
        """Let go of connections, and stop being the current app. It may be used again."""
        if self._connections is not None:
            self._connections.close()
        current.leave(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        # Connections and tasks stay: where it lands, tasks are those of the modules imported there.
        return _rebuild, (type(self), self.main, self.profile, self.conf)

    def __repr__(self) -> str:
        return f"<{_SHOWN.get(type(self).__name__, type(self).__name__)} {self.main or 'default'}>"


_SHOWN = {"App": "Umbel"}


def _ignore(_: object) -> None:
    return None


def _rebuild(cls: type[App], main: str | None, profile: str, conf: Conf) -> App:
    app = cls(main, profile=profile, set_as_current=False)
    app.conf = conf
    return app


def _zone_of(settings: Settings) -> tzinfo:
    zone = settings.timezone
    if isinstance(zone, tzinfo):
        return zone
    if not zone:
        local = datetime.now().astimezone().tzinfo
        return UTC if settings.enable_utc or local is None else local
    if str(zone).upper() == "UTC":
        return UTC
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - 3 ms that most programs need not spend

    return ZoneInfo(str(zone))  # the configuration has checked that there is one


def _in_child() -> None:
    current.renew_lock()
    for app in current.apps():
        app._renew_locks()
        if app.on_after_fork.receivers:
            app.on_after_fork.send(sender=app)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
binding.bind(current.get_current_app)
current.set_default_factory(lambda: App("default", set_as_current=False))
