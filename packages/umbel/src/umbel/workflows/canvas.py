"""chain, group, chord and their kin: calls joined into workflows.

What users make by name or with ``|``. Each is a Signature with the six keys in which it travels, so
it can be nested, stored and sent like any other. How one becomes messages is ``planning``'s, who
sends them is the app's. Importing this module makes the kinds known to ``Signature.from_dict``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self, TypeVar, cast

from umbel.errors import UsageError
from umbel.wire.signature_dict import read_signature, write_signature
from umbel.workflows.binding import Host, R, RunHandle
from umbel.workflows.freezing import assign_ids, handle_on
from umbel.workflows.planning import Sig, chunks_as_group, normal, read_all
from umbel.workflows.signature import Signature, maybe_signature

S = TypeVar("S")


class Workflow(Signature[R]):
    """What all joined calls have in common: calling one sends it."""

    task_name: ClassVar[str]

    def __init__(
        self, kwargs: Mapping[str, Any], options: Mapping[str, Any], app: Host | None
    ) -> None:
        kind = type(self)
        plain = write_signature(kind.task_name, (), kwargs, options, subtask_type=kind.__name__)
        dict.__init__(self, plain)
        if app is not None:
            self._app = app

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Host | None = None) -> Self:
        """Return the workflow that this mapping describes. Raises DecodeError."""
        made = cls.__new__(cls)
        dict.__init__(made, read_signature(d))
        made._adopt(lambda one: _as_signature(one, app))
        if app is not None:
            made._app = app
        return made

    @classmethod
    def of_parts(cls, made: dict[str, Any], app: Host | None) -> Self:
        """Return the workflow in a mapping whose parts, but the last, are signatures already."""
        whole = super().of_parts(made, app)
        whole._adopt_last(app)
        return whole

    def _adopt_last(self, app: Host | None) -> None:
        tasks = self["kwargs"]["tasks"]
        if tasks:
            tasks[-1] = _as_signature(tasks[-1], app)

    def _adopt(self, change: Callable[[Any], Any]) -> None:
        """Put what ``change`` returns in the place of each part."""
        kwargs = self["kwargs"]
        self["kwargs"] = {**kwargs, "tasks": [change(one) for one in kwargs.get("tasks") or ()]}

    def parts(self) -> Iterator[Signature[Any]]:
        """Walk the calls that it is directly made of."""
        yield from self["kwargs"].get("tasks") or ()

    # --- sending ----------------------------------------------------------------------------------

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> RunHandle[R]:
        """Send it; return the handle on its last run, or its last group.

        Arguments go to the tasks that begin it, options as the page on workflows says. Its ids are
        new each time, unless ``freeze`` settled them. Raises as ``Task.apply_async``, and
        NoResultBackend for a chord whose header nothing could count.
        """
        whole = self._called(options)
        return cast("RunHandle[R]", self.app.send_workflow(whole, args or (), kwargs or {}))

    async def aapply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> RunHandle[R]:
        """Do as ``apply_async``, without blocking the event loop."""
        whole = self._called(options)
        sent = await self.app.asend_workflow(whole, args or (), kwargs or {})
        return cast("RunHandle[R]", sent)

    def apply(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        """Run all of it here and now; return an EagerResult, or a group of them."""
        return self.app.run_workflow(self._called(options), args or (), kwargs or {})

    def _called(self, options: Mapping[str, Any]) -> Sig:
        whole = read_all(self)
        whole["options"] = self.merged(None, None, options)[2]
        return whole

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Send it, with these arguments for the tasks that begin it."""
        return self.apply_async(args, kwargs)

    def freeze(
        self,
        _id: str | None = None,
        group_id: str | None = None,
        chord: Any = None,
        root_id: str | None = None,
        parent_id: str | None = None,
        group_index: int | None = None,
    ) -> RunHandle[R]:
        """Give every run of it its id now, and return the handle on the workflow to come.

        Ids that are there stay: what was frozen and is sent twice runs twice under the same ids.
        """
        options = self.options
        if _id:
            options.setdefault("task_id", _id)
        given = {"root_id": root_id, "parent_id": parent_id, "chord": chord, "group_id": group_id}
        options.update({name: value for name, value in given.items() if value})
        if group_index is not None:
            options["group_index"] = group_index
        assign_ids(self)
        return cast("RunHandle[R]", handle_on(normal(read_all(self)), self.app))

    # --- copies and parts -------------------------------------------------------------------------

    def clone(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        app: Host | None = None,
        **options: Any,
    ) -> Self:
        """Return a copy, its parts copied too, with more arguments and options."""
        copied = super().clone(args, kwargs, app, **options)
        copied._adopt(lambda one: one.clone())
        return copied

    def __copy__(self) -> Self:
        return self.clone()

    @property
    def app(self) -> Host:
        """The app it is sent through: the one given, that of its first task, or the current one."""
        found = self.own_app()
        return found if found is not None else super().app

    @app.setter
    def app(self, app: Host) -> None:
        self._app = app

    def own_app(self) -> Host | None:
        """Return the app given to it or to one of its parts, or None."""
        if self._app is not None:
            return self._app
        return next(filter(None, (one.own_app() for one in self.parts())), None)

    @property
    def id(self) -> str | None:
        """The id of the last run, if that is settled; of a group, its own."""
        return cast("str | None", self.options.get("task_id"))

    def set_immutable(self, immutable: bool) -> None:
        """Say of each task that begins it whether it keeps its arguments as they are."""
        for one in self.parts():
            one.set_immutable(immutable)

    def flatten_links(self) -> list[Any]:
        """Return its own callbacks, and those of its parts."""
        of_parts = (link for one in self.parts() for link in one.flatten_links())
        return [*super().flatten_links(), *of_parts]


def _as_signature(one: Any, app: Host | None = None) -> Signature[Any]:
    if isinstance(one, Signature):
        return one
    if isinstance(one, Mapping):
        found = maybe_signature(one, app=app)
        assert found is not None
        return found
    if hasattr(one, "apply_async") and hasattr(one, "s"):
        raise UsageError(
            f"a workflow is made of signatures, and {one!r} is a task: write {one.name}.s(...)."
        )
    raise UsageError(
        f"a workflow is made of signatures, such as task.s(1, 2), and one part is {one!r}."
    )


def _gathered(given: tuple[Any, ...]) -> list[Any]:
    """Return the parts given one by one, or as one iterable."""
    if len(given) == 1 and not isinstance(given[0], Mapping) and isinstance(given[0], Iterable):
        return list(given[0])
    return list(given)


@Signature.register_type()
class chain(Workflow[R]):  # noqa: N801 - Celery's name
    """Calls one after another, each with the value of the one before: ``a.s() | b.s()``.

    The value is that of the last. A call that fails ends it: those after it fail with its error.
    """

    task_name = "celery.chain"

    def __init__(self, *tasks: Any, app: Host | None = None, **options: Any) -> None:
        """``tasks``: signatures, one by one or in one iterable; ``options``: those of the first."""
        super().__init__({"tasks": [_as_signature(one) for one in _gathered(tasks)]}, options, app)

    @property
    def tasks(self) -> list[Signature[Any]]:
        """The calls, in order."""
        return cast("list[Signature[Any]]", self["kwargs"]["tasks"])

    def set_immutable(self, immutable: bool) -> None:
        """Say of the first call whether it keeps its arguments as they are."""
        self["immutable"] = bool(immutable)

    def unchain_tasks(self) -> list[Signature[Any]]:
        """Return copies of the calls, each with the error callbacks of the chain."""
        steps = [one.clone() for one in self.tasks]
        for step, errback in itertools.product(steps, self.options.get("link_error") or ()):
            step.link_error(errback)
        return steps

    def run(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> RunHandle[R]:
        """Do as ``apply_async``."""
        return self.apply_async(args, kwargs, **options)

    def __len__(self) -> int:
        return len(self.tasks)

    def __bool__(self) -> bool:
        return True

    def __getitem__(self, key: Any) -> Any:
        # A position gives the call there, as in Celery; a key what the mapping has.
        return self.tasks[key] if isinstance(key, int | slice) else dict.__getitem__(self, key)

    def __repr__(self) -> str:
        return " | ".join(map(repr, self.tasks)) or "chain()"


@Signature.register_type()
class group(Workflow[list[R]]):  # noqa: N801 - Celery's name
    """Calls side by side. The value is the list of their values, in their order."""

    task_name = "celery.group"

    def __init__(self, *tasks: Any, app: Host | None = None, **options: Any) -> None:
        """``tasks``: signatures, one by one or in one iterable; ``options``: those of each."""
        if len(tasks) == 1 and isinstance(tasks[0], group):
            options = {**tasks[0].options, **options}
            tasks = tuple(tasks[0].tasks)
        super().__init__({"tasks": [_as_signature(one) for one in _gathered(tasks)]}, options, app)

    @property
    def tasks(self) -> list[Signature[R]]:
        """The calls, in order."""
        return cast("list[Signature[R]]", self["kwargs"]["tasks"])

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> RunHandle[list[R]]:
        """Send every call; return a GroupResult."""
        _refuse_links(options)
        return super().apply_async(args, kwargs, **options)

    async def aapply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> RunHandle[list[R]]:
        """Do as ``apply_async``, without blocking the event loop."""
        _refuse_links(options)
        return await super().aapply_async(args, kwargs, **options)

    def skew(self, start: float = 1.0, stop: float | None = None, step: float = 1.0) -> Self:
        """Delay the calls one after another: by ``start`` seconds, and each by ``step`` more.

        With ``stop`` it begins again at ``start`` whenever it would reach that. Returns itself.
        """
        delays: Iterator[float] = itertools.count(start, step)
        if stop is not None:
            rounds = list(itertools.takewhile(lambda one: one < stop, itertools.count(start, step)))
            delays = itertools.cycle(rounds or [start])
        for one, delay in zip(self.tasks, delays, strict=False):
            one.set(countdown=delay)
        return self

    def link(self, callback: Any) -> Any:
        """Have ``callback`` sent when the first call succeeded, without its value.

        Celery's rule. What is to follow all of them is ``group(...) | callback``.
        """
        return super().link(callback)

    def __len__(self) -> int:
        return len(self.tasks)

    def __bool__(self) -> bool:
        return True

    def __getitem__(self, key: Any) -> Any:
        return self.tasks[key] if isinstance(key, int | slice) else dict.__getitem__(self, key)

    def __repr__(self) -> str:
        return f"group({', '.join(map(repr, self.tasks))})"


def _refuse_links(options: Mapping[str, Any]) -> None:
    for name in ("link", "link_error"):
        if options.get(name) is not None:
            raise TypeError(
                f"a group takes no {name} when it is sent: give it to the group itself, "
                f"group.{'link' if name == 'link' else 'on_error'}(...), or follow the whole group "
                "by a task, group(...) | task.s()."
            )


@Signature.register_type()
class chord(Workflow[R]):  # noqa: N801 - Celery's name
    """Calls side by side (the header), and one that gets the list of their values (the body).

    The value is the body's. Where a call of the header fails, the others go on, the body does not
    run and fails with a ChordError.
    """

    task_name = "celery.chord"

    def __init__(
        self,
        header: Any = (),
        body: Any = None,
        task: str = "celery.chord",  # noqa: ARG002 - Celery's signature
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        app: Host | None = None,
        **options: Any,
    ) -> None:
        """``header``: signatures or a group; ``args`` and ``kwargs`` are given to each of them."""
        if not isinstance(header, Mapping):
            header = group(header, app=app)
        elif header.get("subtask_type") not in ("group", "chunks"):
            header = group(_as_signature(header), app=app)
        whole = {
            "kwargs": dict(kwargs or {}),
            "header": _as_signature(header),
            "body": None if body is None else _as_signature(body),
        }
        super().__init__(whole, options, app)
        self["args"] = tuple(args or ())

    def _adopt(self, change: Callable[[Any], Any]) -> None:
        kwargs = self["kwargs"]
        header = kwargs.get("header")
        header = change(header) if isinstance(header, Mapping) else group(map(change, header or ()))
        body = kwargs.get("body")
        body = None if body is None else change(body)
        self["kwargs"] = {**kwargs, "header": header, "body": body}

    def _adopt_last(self, app: Host | None) -> None:
        self._adopt(lambda one: _as_signature(one, app))

    def parts(self) -> Iterator[Signature[Any]]:
        """Walk header and body."""
        yield self["kwargs"]["header"]
        if self["kwargs"].get("body") is not None:
            yield self["kwargs"]["body"]

    @property
    def tasks(self) -> list[Signature[Any]]:
        """The calls of the header."""
        return cast("list[Signature[Any]]", self["kwargs"]["header"]["kwargs"]["tasks"])

    @tasks.setter
    def tasks(self, header: Any) -> None:
        self["kwargs"]["header"] = header if isinstance(header, group) else group(header)

    @property
    def body(self) -> Signature[R]:
        """What gets their values."""
        return cast("Signature[R]", self["kwargs"]["body"])

    @body.setter
    def body(self, body: Any) -> None:
        self["kwargs"]["body"] = _as_signature(body)

    def __call__(self, body: Any = None, **options: Any) -> Any:
        """Send it, with this body if one is given."""
        whole = self
        if body is not None:
            whole = self.clone()
            whole.body = body
        return whole.apply_async((), {}, **options)

    def _called(self, options: Mapping[str, Any]) -> Sig:
        given = dict(options)
        # Where Celery polls for the end of a header; here the store counts.
        for name in ("interval", "max_retries"):
            given.pop(name, None)
        body = given.pop("body", None)
        if body is None and self["kwargs"].get("body") is None:
            raise UsageError("this chord has no body: chord(header, body), or chord(header)(body).")
        whole = super()._called(given)
        if body is not None:
            whole["kwargs"]["body"] = read_all(_as_signature(body))
        return whole

    def run(self, header: Any, body: Any, partial_args: Sequence[Any] = (), **options: Any) -> Any:
        """Send this header and this body."""
        return chord(header, body, args=partial_args, app=self._app).apply_async(**options)

    def link(self, callback: Any) -> Any:
        """Have ``callback`` sent when the body succeeded; return the callback."""
        self.body.link(callback)
        return callback

    def link_error(self, errback: Any) -> Any:
        """Have ``errback`` called when the header or the body failed; return the errback."""
        self.body.link_error(errback)
        return errback

    def set_immutable(self, immutable: bool) -> None:
        """Say of the calls of the header whether they keep their arguments as they are."""
        self["kwargs"]["header"].set_immutable(immutable)

    def __len__(self) -> int:
        return len(self.tasks)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        header = ", ".join(map(repr, self.tasks))
        return f"chord([{header}], {self['kwargs'].get('body')!r})"


class _Repeated(Signature[list[Any]]):
    """One message in which a task runs once for each item."""

    task_name: ClassVar[str]

    def __init__(
        self, task: Any, it: Iterable[Any], app: Host | None = None, **options: Any
    ) -> None:
        call = _as_signature(task) if isinstance(task, Mapping) else Signature[Any](task)
        kind = type(self)
        kwargs = {"task": dict(call), "it": list(it)}
        # It goes where the task's own messages go.
        options = {"route_name": call.task, **options}
        plain = write_signature(
            kind.task_name, (), kwargs, options, subtask_type=kind.__name__, immutable=True
        )
        dict.__init__(self, plain)
        own = app if app is not None else call._app
        if own is not None:
            self._app = own

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Host | None = None) -> Self:
        """Return the call that this mapping describes. Raises DecodeError."""
        made = cls.__new__(cls)
        dict.__init__(made, read_signature(d))
        if app is not None:
            made._app = app
        return made


@Signature.register_type()
class xmap(_Repeated):  # noqa: N801 - Celery's name
    """One run of a task for each item, one after another in one message: ``task.map(items)``."""

    task_name = "celery.map"

    def __repr__(self) -> str:
        return f"[{self['kwargs']['task']['task']}(x) for x in {self['kwargs']['it']!r}]"


@Signature.register_type()
class xstarmap(_Repeated):  # noqa: N801 - Celery's name
    """As ``xmap``; each item is all the arguments of one run: ``task.starmap(items)``."""

    task_name = "celery.starmap"

    def __repr__(self) -> str:
        return f"[{self['kwargs']['task']['task']}(*x) for x in {self['kwargs']['it']!r}]"


@Signature.register_type()
class chunks(Workflow[list[Any]]):  # noqa: N801 - Celery's name
    """Many runs of a task in few messages of ``n`` runs each: ``task.chunks(items, n)``.

    Each item is all the arguments of one run; the value is a list of lists.
    """

    task_name = "celery.chunks"

    def __init__(
        self, task: Any, it: Iterable[Any], n: int, app: Host | None = None, **options: Any
    ) -> None:
        if type(n) is not int or n < 1:
            raise UsageError(f"chunks takes a number of calls for each message, and got {n!r}.")
        call = _as_signature(task) if isinstance(task, Mapping) else Signature[Any](task)
        kwargs = {"task": dict(call), "it": list(it), "n": n}
        super().__init__(
            kwargs, {"route_name": call.task, **options}, app if app is not None else call._app
        )

    def _adopt(self, change: Callable[[Any], Any]) -> None:
        """Its part is a plain mapping, shared by all messages."""

    def parts(self) -> Iterator[Signature[Any]]:
        """It has no parts before it is a group."""
        return iter(())

    def group(self) -> group[Any]:
        """Return it as the group of the messages that it stands for."""
        made = group.from_dict(chunks_as_group(read_all(self)), app=self._app)
        made["options"].pop("task_id", None)
        return made

    def freeze(self, *_: Any, **__: Any) -> RunHandle[list[Any]]:
        """Refuse: the group it stands for can be frozen."""
        raise UsageError("chunks cannot be frozen as they are: freeze their group, chunks.group().")

    def __repr__(self) -> str:
        kwargs = self["kwargs"]
        return f"chunks({kwargs['task']['task']}, {len(kwargs['it'])} calls, {kwargs['n']})"
