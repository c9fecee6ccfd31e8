"""Signature: a call as a value, to be sent later, by somebody else, or as part of a workflow.

Made by ``task.s()`` and its sisters, by ``signature()``, and from the mappings in messages. It is a
dict with exactly the six keys in which signatures travel, so every serializer can write it. It
sends through the app it was given or, where it was made without one, through the current one
(``binding``). How calls are joined is not here.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Generic, Self, TypeVar, cast
from uuid import uuid4

from umbel.errors import UsageError
from umbel.wire.signature_dict import read_signature, write_signature
from umbel.workflows import binding
from umbel.workflows.binding import Host, R, RunHandle
from umbel.workflows.signature_parts import SignatureParts, as_list
from umbel.workflows.stamping import StampingVisitor, stamp, stamp_links
from umbel.workflows.upgrading import joined

S = TypeVar("S", bound="type[Signature[Any]]")
T = TypeVar("T")


class Signature(SignatureParts, Generic[R]):
    """One call that has not happened: a task, its arguments and its options.

    ``link``, ``set`` and their sisters change it in place; ``clone`` and ``replace`` return another
    one. As with any dict, one thread at a time may change it.
    """

    TYPES: ClassVar[dict[str, type[Signature[Any]]]] = {}
    """Kinds of signatures by their ``subtask_type``; see ``register_type``."""

    _app: Host | None = None
    _type: Any = None

    def __init__(
        self,
        task: Any = None,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        type: Any = None,  # noqa: A002 - Celery's name
        subtask_type: str | None = None,
        immutable: bool = False,
        app: Host | None = None,
        **more: Any,
    ) -> None:
        """``task`` is a name, a task, or the mapping of another signature; ``more`` are options.

        Raises DecodeError for a mapping that is no signature, UsageError for what cannot be a task.
        """
        if isinstance(task, Mapping):
            super().__init__(read_signature(task))
            if isinstance(task, Signature):
                self._type = task._type
                self._app = task._app
        else:
            name = task if isinstance(task, str) else getattr(task, "name", None)
            if not isinstance(name, str):
                raise UsageError(
                    f"a signature needs a task or the name of one, and got {task!r}. Was the "
                    "function decorated with @app.task?"
                )
            if task is not name:
                self._type = task
            super().__init__(
                write_signature(
                    name,
                    tuple(args or ()),
                    kwargs,
                    {**(options or {}), **more},
                    subtask_type=subtask_type,
                    immutable=immutable,
                )
            )
        if type is not None:
            self._type = type
        if app is not None:
            self._app = app

    # --- making them ------------------------------------------------------------------------------

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Host | None = None) -> Signature[Any]:
        """Return the signature, of the kind its ``subtask_type`` names, in this mapping.

        Raises DecodeError, and UsageError for a kind that nobody registered.
        """
        kind = d.get("subtask_type")
        if kind:
            target = cls.TYPES.get(kind)
            if target is None:
                known = ", ".join(sorted(cls.TYPES)) or "none yet"
                raise UsageError(
                    f"this signature is a {kind!r}, a kind that is not known here (known: {known})"
                )
            if target is not cls:
                return target.from_dict(d, app=app)
        return cls(d, app=app)

    @classmethod
    def of_parts(cls, made: dict[str, Any], app: Host | None) -> Self:
        """Return the workflow in a mapping whose parts are signatures already.

        Looking at each of them would cost a chain made by ``|`` the square of its length.
        """
        found = cls.__new__(cls)
        dict.__init__(found, made)
        if app is not None:
            found._app = app
        return found

    @classmethod
    def register_type(cls, name: str | None = None) -> Callable[[S], S]:
        """Return a decorator by which a subclass becomes the kind called ``name``."""

        def register(subclass: S) -> S:
            cls.TYPES[name or subclass.__name__] = subclass
            return subclass

        return register

    # --- sending ----------------------------------------------------------------------------------

    def delay(self, *args: Any, **kwargs: Any) -> RunHandle[R]:
        """Send it; these arguments go before, and over, its own."""
        return self.apply_async(args, kwargs)

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> RunHandle[R]:
        """Send it with more arguments and options; return the handle of the run.

        Raises as ``Task.apply_async``.
        """
        args, kwargs, options = self.merged(args, kwargs, options)
        task = self._registered()
        if task is not None:
            return cast("RunHandle[R]", task.apply_async(args, kwargs, **options))
        return cast("RunHandle[R]", self.app.send_task(self["task"], args, kwargs, **options))

    async def adelay(self, *args: Any, **kwargs: Any) -> RunHandle[R]:
        """Do as ``delay``, without blocking the event loop."""
        return await self.aapply_async(args, kwargs)

    async def aapply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> RunHandle[R]:
        """Do as ``apply_async``, without blocking the event loop."""
        args, kwargs, options = self.merged(args, kwargs, options)
        task = self._registered()
        if task is not None:
            return cast("RunHandle[R]", await task.aapply_async(args, kwargs, **options))
        sent = await self.app.asend_task(self["task"], args, kwargs, **options)
        return cast("RunHandle[R]", sent)

    def apply(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        """Run it here and now; return an EagerResult. Raises NotRegistered."""
        args, kwargs, options = self.merged(args, kwargs, options)
        return self.type.apply(args, kwargs, **options)

    def __call__(self, *args: Any, **kwargs: Any) -> R:
        """Call the task's function here, as if it were no task. Raises NotRegistered."""
        all_args, all_kwargs, _ = self.merged(args, kwargs, {})
        return cast("R", self.type(*all_args, **all_kwargs))

    def __invert__(self) -> R:
        return self.apply_async().get()

    def freeze(
        self,
        _id: str | None = None,
        group_id: str | None = None,
        chord: Any = None,
        root_id: str | None = None,
        parent_id: str | None = None,
        group_index: int | None = None,
    ) -> RunHandle[R]:
        """Give it its id now, and return the handle of the run to come.

        An id it has stays: what was frozen and is sent twice runs twice under one id.
        """
        options = self.options
        task_id = options.get("task_id") or _id or str(uuid4())
        options["task_id"] = task_id
        for name, value in (("root_id", root_id), ("parent_id", parent_id), ("chord", chord)):
            if value:
                options[name] = value
        if group_id:
            options.setdefault("group_id", group_id)
        if group_index is not None:
            options["group_index"] = group_index
        return cast("RunHandle[R]", self.AsyncResult(task_id))

    # --- changing it ------------------------------------------------------------------------------

    def set(self, immutable: bool | None = None, **options: Any) -> Self:
        """Change options in place; return itself."""
        if immutable is not None:
            self.set_immutable(immutable)
        self.options.update(options)
        return self

    def flatten_links(self) -> list[Any]:
        """Return it, its callbacks, theirs, and so on."""
        found: list[Any] = [self]
        for callback in as_list(self.options.get("link")):
            found.extend(Signature.from_dict(callback, app=self._app).flatten_links())
        return found

    def stamp(
        self, visitor: StampingVisitor | None = None, append_stamps: bool = False, **headers: Any
    ) -> Self:
        """Put stamps on it, and on all it is made of, in place; return itself.

        ``headers`` are stamps for every call, ``visitor`` says more of each. A stamp that is there
        stays, unless ``append_stamps``: then its values become a list.
        """
        stamp(self, visitor, headers, append=append_stamps)
        return self

    def stamp_links(
        self, visitor: StampingVisitor | None = None, append_stamps: bool = False, **headers: Any
    ) -> Self:
        """Do as ``stamp`` with its callbacks and error callbacks alone."""
        stamp_links(self, visitor, headers, append=append_stamps)
        return self

    def from_plain(self, one: Mapping[str, Any]) -> Signature[Any]:
        """Return a signature, or the mapping of one, as a signature of the same app."""
        return one if isinstance(one, Signature) else Signature.from_dict(one, app=self._app)

    # --- copies -----------------------------------------------------------------------------------

    def clone(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        app: Host | None = None,
        **options: Any,
    ) -> Self:
        """Return a copy with more arguments and options, added as a call adds them."""
        all_args, all_kwargs, all_options = self.merged(args, kwargs, options)
        copied = self._like(all_args, all_kwargs, copy.deepcopy(all_options))
        if app is not None:
            copied._app = app
        return copied

    partial = clone

    def replace(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Self:
        """Return a copy in which the given parts stand in place of its own."""
        return self._like(
            self["args"] if args is None else args,
            self["kwargs"] if kwargs is None else kwargs,
            copy.deepcopy(self["options"] if options is None else dict(options)),
        )

    def _like(self, args: Sequence[Any], kwargs: Mapping[str, Any], options: Any) -> Self:
        parts = {**self, "args": tuple(args), "kwargs": dict(kwargs), "options": options}
        copied = cast("Self", type(self).from_dict(parts, app=self._app))
        copied._type = self._type
        return copied

    def __copy__(self) -> Self:
        return self._like(self["args"], self["kwargs"], dict(self["options"]))

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # The app and the task are shared by every copy: neither is part of the value.
        return self._like(
            copy.deepcopy(self["args"], memo),
            copy.deepcopy(self["kwargs"], memo),
            copy.deepcopy(self["options"], memo),
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return signature, (dict(self),)

    # --- its parts --------------------------------------------------------------------------------

    @property
    def app(self) -> Host:
        """The app it is sent through: the one given, its task's, or the current one."""
        found = self.own_app()
        return found if found is not None else binding.current()

    @app.setter
    def app(self, app: Host) -> None:
        self._app = app

    def own_app(self) -> Host | None:
        """Return the app given to it, or its task's, or None."""
        return self._app if self._app is not None else getattr(self._type, "app", None)

    @property
    def type(self) -> Any:
        """The task itself. Raises NotRegistered where the app has none of that name."""
        return self._type if self._type is not None else self.app.tasks[self["task"]]

    def _registered(self) -> Any:
        """Return the task, or None where the app only knows its name."""
        return self._type if self._type is not None else self.app.tasks.get(self["task"])

    @property
    def AsyncResult(self) -> Callable[[str], Any]:  # noqa: N802 - Celery's name
        """What makes the handle of a run with a given id."""
        own = getattr(self._type, "AsyncResult", None)
        return cast("Callable[[str], Any]", own or self.app.AsyncResult)

    # --- joining ----------------------------------------------------------------------------------

    def __or__(self, other: Signature[T]) -> Signature[T]:  # type: ignore[override]  # not a union
        """Return the workflow in which ``other`` follows this, with its value."""
        if not isinstance(other, Signature):
            return NotImplemented
        made = joined(self, other)
        return Signature.TYPES[made["subtask_type"]].of_parts(made, self._app)

    def __ior__(self, other: Any) -> Any:  # type: ignore[misc]  # a dict would merge keys
        return self | other

    def __ror__(self, other: Any) -> Any:
        if isinstance(other, Mapping):
            return Signature.from_dict(other, app=self._app) | self
        return NotImplemented


def signature(varies: Any, *args: Any, **kwargs: Any) -> Signature[Any]:
    """Return a signature: of a task or a name, with arguments as ``Signature`` takes them.

    A mapping becomes the signature it describes; a signature is copied.
    """
    if isinstance(varies, Signature):
        return varies.clone()
    if isinstance(varies, Mapping):
        return Signature.from_dict(varies, app=kwargs.get("app"))
    return Signature(varies, *args, **kwargs)


def maybe_signature(
    d: Mapping[str, Any] | None, app: Host | None = None, clone: bool = False
) -> Signature[Any] | None:
    """Return what is given as a signature; None stays None. ``clone``: never the same object."""
    if d is None:
        return None
    if not isinstance(d, Signature):
        return Signature.from_dict(d, app=app)
    found = d.clone() if clone else d
    if app is not None:
        found._app = app
    return found
