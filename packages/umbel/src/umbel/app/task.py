"""A task: a function with a name, that can be called here or sent elsewhere.

Made by ``App.task`` (one instance per function and app), or by the user as a class. Sending is
``sending``'s, running here ``eager``'s and ``running``'s, retrying ``repeating``'s; this module is
what the user holds in the hand.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Generic, NoReturn, ParamSpec, TypeVar, cast

from umbel.app import bulk, context, options, repeating, sending
from umbel.app.arguments import ArgumentCheck
from umbel.app.context import Context
from umbel.app.current import get_current_app
from umbel.app.eager_results import EagerResult
from umbel.app.handles import AsyncResult
from umbel.app.pydantic_arguments import dumped, with_models
from umbel.app.repeated_calls import RepeatedCalls
from umbel.app.send_plan import SendPlan
from umbel.app.storing import make_record
from umbel.app.transactional_calls import TransactionalCalls
from umbel.errors import Retry
from umbel.workflows.signature import Signature

if TYPE_CHECKING:
    from umbel.app.app import App
    from umbel.app.result_sets import ResultSet
    from umbel.ports import ResultBackend

P = ParamSpec("P")
R = TypeVar("R")

HOOKS = ("before_start", "on_success", "on_failure", "on_retry", "after_return", "shadow_name")


class Task(RepeatedCalls, TransactionalCalls[P, R], Generic[P, R]):
    """One task of one app. Its attributes are shared by all its runs; a run's own are ``request``.

    Subclass it for hooks and defaults (``base=``), or with a ``run`` method for a class-based task
    that ``app.register_task`` takes. Any thread may call and send it.
    """

    bound = False
    """The function takes the task as its first argument (``bind=True``)."""

    if TYPE_CHECKING:
        __name__: str
        __qualname__: str
        __wrapped__: Callable[..., Any]

    # --- calling ----------------------------------------------------------------------------------

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it here and now, as the plain function it is; nothing is sent or stored."""
        running = context.current.get()
        if (
            running is not None
            and running.task is self
            and self.has_own_call
            and not running.entered
        ):
            # The runner calls our overridden ``__call__``, and that calls this one: it is the run
            # itself, not a call within it.
            running.entered = True
            return cast("R", self.run(*args, **kwargs))
        request = Context(args=args, kwargs=kwargs, task=self.name)
        if self.is_async:
            return cast("R", self._call_async(request))
        context.push(self, request)
        try:
            return cast("R", self.run(*args, **kwargs))
        finally:
            context.pop()

    async def _call_async(self, request: Context) -> Any:
        context.push(self, request)
        try:
            return await self.run(*request.args, **request.kwargs)
        finally:
            context.pop()

    if TYPE_CHECKING:
        run: Callable[..., Any]
    else:

        def run(self, *args: Any, **kwargs: Any) -> Any:
            """Do the work. Class-based tasks override it."""
            raise NotImplementedError(f"Task {self.name} has no run method: define one.")

    # --- sending ----------------------------------------------------------------------------------

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """Send it with these arguments; return the handle once the broker holds the message.

        Raises TaskSignatureMismatch (a TypeError), EncodeError, OperationalError.
        """
        return self.apply_async(args, kwargs)

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        producer: Any = None,
        link: Any = None,
        link_error: Any = None,
        shadow: str | None = None,
        **given: Any,
    ) -> AsyncResult[R]:
        """Send it with options: ``countdown``, ``eta``, ``expires``, ``queue``, ``priority``, ...

        A naive ``eta`` or ``expires`` is UTC; ``countdown`` wins over ``eta``. All options are in
        ``app.options``; one that nobody knows is an error that names the nearest. Raises
        UnknownOption (a TypeError), InvalidOption (a ValueError), and what ``delay`` raises.
        """
        plan = self.plan
        args, kwargs = self.checked_call(args, kwargs)
        if task_id or link or link_error or shadow or producer:
            given.update(task_id=task_id, link=link, link_error=link_error, shadow=shadow)
        if plan.settings.task_always_eager:
            return cast("AsyncResult[R]", self._apply_always(args, kwargs, given))
        return sending.send(plan, args, kwargs, given)

    async def adelay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """Do as ``delay``, without blocking the event loop."""
        return await self.aapply_async(args, kwargs)

    async def aapply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **given: Any,
    ) -> AsyncResult[R]:
        """Do as ``apply_async``, without blocking the event loop."""
        plan = self.plan
        args, kwargs = self.checked_call(args, kwargs)
        if plan.settings.task_always_eager:
            return cast("AsyncResult[R]", self._apply_always(args, kwargs, given))
        return await sending.asend(plan, args, kwargs, given)

    def send_many(self, calls: Iterable[Any], **given: Any) -> ResultSet[R]:
        """Send any number of calls in few round trips; options as ``apply_async``.

        ``calls`` yields tuples of arguments, or (args, kwargs) pairs; it is consumed in chunks.
        """
        return cast("ResultSet[R]", bulk.send_many_of(self, calls, **given))

    async def asend_many(self, calls: Iterable[Any], **given: Any) -> ResultSet[R]:
        """Do as ``send_many``, without blocking the event loop."""
        return cast("ResultSet[R]", await bulk.asend_many_of(self, calls, **given))

    def send_stream(self, calls: Iterable[Any], **given: Any) -> Iterator[AsyncResult[R]]:
        """Do as ``send_many``, yielding handles as chunks are sent: memory stays bounded."""
        return cast("Iterator[AsyncResult[R]]", bulk.send_stream_of(self, calls, **given))

    def apply(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        throw: bool | None = None,
        **given: Any,
    ) -> EagerResult[R]:
        """Run it here and now as a worker would, retries included, and return how it ended.

        ``throw``: raise what it raised; ``task_eager_propagates`` unless given.
        """
        plan = self.plan  # before the check, which is made with it
        args, kwargs = self.checked_call(args, kwargs)
        if throw is None:
            throw = plan.settings.task_eager_propagates
        from umbel.app import eager  # noqa: PLC0415 - the runner brings asyncio; senders need neither

        return eager.apply(self, args, kwargs, given, throw=throw)

    def _apply_always(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], given: dict[str, Any]
    ) -> EagerResult[R]:
        from umbel.app import eager  # noqa: PLC0415 - as in apply

        args, kwargs = eager.through_serializer(self, args, kwargs, given.get("serializer"))
        throw = self.app.settings.task_eager_propagates
        return eager.apply(self, args, kwargs, given, throw=throw)

    def checked_call(self, args: Any, kwargs: Any) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """Return the arguments of a call as they are sent. Raises TaskSignatureMismatch."""
        if type(args) is not tuple or type(kwargs) is not dict:
            args, kwargs = options.checked_arguments(args, kwargs, lambda: f"Task {self.name}")
        check = self.argument_check
        if check is not None:
            check.check(args, kwargs)
        if self.pydantic and self.serializer != "pickle":
            return dumped(self, args, kwargs)
        return args, kwargs

    # --- signatures -------------------------------------------------------------------------------

    def signature(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        *,
        immutable: bool = False,
        **more: Any,
    ) -> Signature[R]:
        """Return this call as a value, to be sent later or put into a workflow."""
        return Signature(
            self, args, kwargs, {**(options or {}), **more}, app=self.app, immutable=immutable
        )

    subtask = signature

    def s(self, *args: Any, **kwargs: Any) -> Signature[R]:
        """Return a signature with these arguments; those given later come before them."""
        return self.signature(args, kwargs)

    def si(self, *args: Any, **kwargs: Any) -> Signature[R]:
        """Return an immutable signature: it takes no arguments from what ran before it."""
        return self.signature(args, kwargs, immutable=True)

    # --- inside a run -----------------------------------------------------------------------------

    @property
    def request(self) -> Context:
        """The current run of this task here; an empty one when it does not run."""
        running = context.current.get()
        if running is not None and running.task is self:
            return running.request
        return context.request_of(self) or Context()

    def push_request(self, *args: Any, **kwargs: Any) -> None:
        """Make up a current run (for tests of a task's body)."""
        context.push(self, Context(*args, **{"task": self.name, **kwargs}))

    def pop_request(self) -> None:
        """End what ``push_request`` began."""
        context.pop()

    def cancelled(self) -> bool:
        """Tell whether the run that calls this should come to an end.

        True once it was revoked (also without ``terminate``), passed its soft time limit, lost its
        lease, or its worker is shutting down; ``request.cancelled`` says which. For code that no
        exception reaches, such as long calls of C: look between two of them. It must be asked on
        the task's own thread (or coroutine, or greenlet). False where no worker runs the task.
        """
        running = context.worker_run()
        return running is not None and running.request.cancelled is not None

    @property
    def shutdown_requested(self) -> bool:
        """Whether the worker that runs this is shutting down; False where no worker does."""
        running = context.worker_run()
        return running is not None and running.request.shutdown_requested

    def retry(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        exc: BaseException | None = None,
        throw: bool = True,
        eta: Any = None,
        countdown: float | None = None,
        max_retries: int | None = None,
        **given: Any,
    ) -> Retry:
        """Run this task again later, with the same id; raises Retry, which must leave the task.

        ``countdown`` seconds from now (``default_retry_delay`` unless given), or at ``eta``; other
        arguments and options replace those of this run. The message is sent together with this
        run's end. With no tries left raises ``exc``, or MaxRetriesExceededError. In a plain call
        raises ``exc`` or Retry, for there is nothing to send again. ``throw`` false sends at once
        and returns the Retry.
        """
        wanted = repeating.RetryRequest(
            args=args,
            kwargs=kwargs,
            exc=exc,
            eta=eta,
            countdown=countdown,
            max_retries=max_retries,
            options=given,
        )
        retry = repeating.retry(self, wanted)
        if throw:
            raise retry
        outgoing, retry.outgoing = retry.outgoing, None
        if isinstance(outgoing, repeating.EagerRetry):
            from umbel.app import eager  # noqa: PLC0415 - as in apply

            eager.run_message(self, outgoing.message)
        else:
            self.app.publishing.publish((outgoing,))
        return retry

    def replace(self, sig: Mapping[str, Any]) -> NoReturn:
        """Have another task take this one's place: its id, callbacks and memberships.

        Raises Ignore, which must leave the task; the replacement is sent together with this run's
        end. An eager run is followed by it at once, and its value becomes this run's.
        """
        sig = self.on_replace(sig)
        directive = repeating.replaced_by(self, sig)
        self.request.update(replacements=[directive.outgoing])
        raise directive

    def update_state(
        self, task_id: str | None = None, state: str | None = None, meta: Any = None
    ) -> None:
        """Store a state of your own, such as ``PROGRESS``, with anything the serializer writes.

        Of the current run unless ``task_id`` says otherwise. Does nothing without a result backend.
        """
        request = context.request_of(self)
        wanted = task_id or (request.id if request is not None else None)
        if not wanted or (self.own_backend is None and not self.app.has_result_backend):
            return
        record = make_record(
            self.app,
            task_id=wanted,
            state=str(state or "PENDING"),
            result=meta,
            request=request if request is not None and request.id == wanted else None,
        )
        self.backend.store([record])

    def add_trail(self, result: Any) -> Any:
        """Note a result as a child of the current run; return it."""
        if self.trail:
            self.request.children.append(result)
        return result

    def AsyncResult(self, task_id: str, **more: Any) -> AsyncResult[R]:  # noqa: N802 - Celery's
        """Return the handle of a run of this task."""
        more.setdefault("backend", self.own_backend)
        return AsyncResult(task_id, task_name=self.name, app=self.app, **more)

    # --- hooks, for subclasses --------------------------------------------------------------------

    def before_start(self, task_id: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Called just before the body. What it raises fails the task."""

    def on_success(
        self, retval: Any, task_id: str, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        """Called when the body returned."""

    def on_failure(
        self,
        exc: BaseException,
        task_id: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        einfo: Any,
    ) -> None:
        """Called when the run failed."""

    def on_retry(
        self,
        exc: BaseException | None,
        task_id: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        einfo: Any,
    ) -> None:
        """Called when the run is to be repeated."""

    def after_return(
        self,
        status: str,
        retval: Any,
        task_id: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        einfo: Any,
    ) -> None:
        """Called last, when the run succeeded or failed."""

    def on_replace(self, sig: Mapping[str, Any]) -> Mapping[str, Any]:
        """Called with what takes this task's place; return it, changed or not."""
        return sig

    def shadow_name(
        self,
        args: Sequence[Any],  # noqa: ARG002 - for those who override it
        kwargs: Mapping[str, Any],  # noqa: ARG002 - as above
        options: Mapping[str, Any],  # noqa: ARG002 - as above
    ) -> str | None:
        """Return the name to show for this call in logs and monitors; None: the task's own."""
        return None

    @classmethod
    def on_bound(cls, app: App) -> None:
        """Called once when an app takes the task."""

    # --- what the task is made of -----------------------------------------------------------------

    @property
    def backend(self) -> ResultBackend:
        """Where its results rest."""
        return self.own_backend or self.app.result_backend

    @backend.setter
    def backend(self, backend: ResultBackend | None) -> None:
        self.own_backend = backend

    @property
    def plan(self) -> SendPlan:
        """What all its messages have in common; made anew when a setting or attribute changed."""
        plan: SendPlan | None = self.__dict__.get("_plan")
        app = self.app
        if plan is None or plan.settings is not app.settings or plan.app is not app:
            app.finalize(auto=True)
            plan = self.__dict__["_plan"] = SendPlan(app, self.name, self)
            self.__dict__["argument_check"] = self._argument_check()
        return plan

    argument_check: ArgumentCheck | None = None
    """What a call's arguments are checked with; made with the plan."""

    def _argument_check(self) -> ArgumentCheck | None:
        if not self.typing or not self.app.strict_typing:
            return None
        values = self.typing_of_values
        if values is None:
            values = self.app.settings.profile == "umbel" and not self.pydantic
        function = self.__wrapped__
        own_self = self.bound or isinstance(function, MethodType)
        return ArgumentCheck(
            self.name,
            function.__func__ if isinstance(function, MethodType) else function,
            bound=own_self,
            types=values,
        )

    @property
    def arity(self) -> int:
        """How many arguments the function can take by position."""
        parameters = inspect.signature(self.run).parameters.values()
        return sum(
            1000 if one.kind is one.VAR_POSITIONAL else 1
            for one in parameters
            if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD, one.VAR_POSITIONAL)
        )

    def attach(self, app: App, attributes: Mapping[str, Any]) -> None:
        """Make this the task of an app, with these attributes over its class's.

        Plain functions among them become methods, as they would in a class body.
        """
        fields = self.__dict__
        fields["app"] = app
        for name, value in attributes.items():
            self.set_attribute(name, value)
        fields.setdefault("__wrapped__", self.run)
        if self.pydantic:
            fields["run"] = with_models(self)
        self._look_at_itself()

    def set_attribute(self, name: str, value: Any) -> None:
        """Set one attribute as a class body would."""
        if name != "run" and isinstance(value, FunctionType):
            value = MethodType(value, self)
        setattr(self, name, value)

    def add_around(self, name: str, around: Callable[[Callable[..., Any]], Any]) -> None:
        """Replace a method by ``around(method)``; ``__call__`` means the body."""
        name = "run" if name == "__call__" else name
        setattr(self, name, around(getattr(self, name)))

    def _look_at_itself(self) -> None:
        """Work out what the runner asks for every run."""
        cls, fields = type(self), self.__dict__
        fields["is_async"] = inspect.iscoroutinefunction(self.run)
        fields["has_own_call"] = cls.__call__ is not Task.__call__
        for name in HOOKS:
            own = name in fields or getattr(cls, name) is not getattr(Task, name)
            fields[f"has_{name}"] = own

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        # What was worked out from the attributes is worked out again; they are set rarely.
        self.__dict__.pop("_plan", None)
        if "app" in self.__dict__ and (name in HOOKS or name == "run"):
            self._look_at_itself()

    def __reduce__(self) -> tuple[Any, ...]:
        # A task is found, not copied: where it lands, its module makes it.
        return _find_task, (self.name, type(self).__module__, self._module())

    def _module(self) -> str:
        return str(self.__dict__.get("__module__", type(self).__module__))

    def __repr__(self) -> str:
        owner = self.__dict__.get("app")
        where = f" of {owner.main or 'an app'}" if owner is not None else ""
        return f"<@task: {self.name or type(self).__name__}{where}>"


class AsyncTask(Task[P, R]):
    """A task whose function is ``async def``: called directly it returns a coroutine."""

    if TYPE_CHECKING:

        def __call__(  # type: ignore[override]  # the one thing in which it is no Task[P, R]
            self, *args: P.args, **kwargs: P.kwargs
        ) -> Coroutine[Any, Any, R]: ...


def _find_task(name: str, *modules: str) -> Task[..., Any]:
    """Return a task by name, importing the module that defines it where needed (for pickle)."""
    app = get_current_app()
    for module in reversed(modules):
        if name not in app.tasks and module != "__main__":
            importlib.import_module(module)
    return app.tasks[name]
