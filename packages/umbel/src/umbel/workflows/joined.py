"""What chain, group, chord and their kin have in common: calls joined into one, and sent as one.

The base of ``chains``, ``groups``, ``chords`` and ``repeats``. Each workflow is a Signature with
the six keys in which it travels, so it can be nested, stored and sent like any other. How one
becomes messages is ``planning``'s, who sends them is the app's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self, cast

from umbel.errors import UsageError
from umbel.wire.signature_dict import read_signature, write_signature
from umbel.workflows.binding import Host, R, RunHandle
from umbel.workflows.freezing import assign_ids, handle_on
from umbel.workflows.planning import Sig, normal, read_all
from umbel.workflows.signature import Signature, maybe_signature


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
        made._adopt(lambda one: as_signature(one, app))
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
            tasks[-1] = as_signature(tasks[-1], app)

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
        wide = self._wide()
        if wide is not None:
            shell = wide._called(options)
            sent = self.app.send_wide(shell, self.members(), args or (), kwargs or {})
        else:
            sent = self.app.send_workflow(self._called(options), args or (), kwargs or {})
        return cast("RunHandle[R]", sent)

    async def aapply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> RunHandle[R]:
        """Do as ``apply_async``, without blocking the event loop."""
        wide = self._wide()
        if wide is not None:
            shell = wide._called(options)
            sent = await self.app.asend_wide(shell, self.members(), args or (), kwargs or {})
        else:
            sent = await self.app.asend_workflow(self._called(options), args or (), kwargs or {})
        return cast("RunHandle[R]", sent)

    def apply(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        """Run all of it here and now; return an EagerResult, or a group of them."""
        return self.app.run_workflow(self._called(options), args or (), kwargs or {})

    def members(self) -> Sequence[Signature[Any]]:
        """Return the calls that are side by side in it and are sent at once."""
        return ()

    def _wide(self) -> Self | None:
        """Return it without its members, where these are so many that they are sent in pieces."""
        return None

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


def as_signature(one: Any, app: Host | None = None) -> Signature[Any]:
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


def gathered(given: tuple[Any, ...]) -> list[Any]:
    """Return the parts given one by one, or as one iterable."""
    if len(given) == 1 and not isinstance(given[0], Mapping) and isinstance(given[0], Iterable):
        return list(given[0])
    return list(given)
