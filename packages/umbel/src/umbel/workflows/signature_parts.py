"""The six parts of a signature: reading them, changing them, and adding those of a call.

``SignatureParts`` is the part of ``Signature`` that knows no app and sends nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self, cast

_FIXED = frozenset({"group_id", "stamped_headers"})
"""Options that, once in a signature, no later call changes."""


class SignatureParts(dict[str, Any]):
    """A mapping with the six keys, as attributes."""

    def merged(
        self,
        args: Sequence[Any] | None,
        kwargs: Mapping[str, Any] | None,
        options: Mapping[str, Any] | None,
        force: bool = False,
    ) -> tuple[tuple[Any, ...], dict[str, Any], dict[str, Any]]:
        """Return arguments and options of a call with these in addition.

        Positional ones go before its own, keywords and options over its own, except options that
        are fixed (group and stamps). An immutable signature takes options only, unless ``force``.
        """
        own = self["options"]
        if options:
            fixed = _FIXED.union(own.get("stamped_headers") or ())
            given = {
                name: value
                for name, value in options.items()
                if value is not None and not (name in fixed and name in own)
            }
            own = {**own, **given}
        else:
            own = dict(own)
        if self["immutable"] and not force:
            return tuple(self["args"]), dict(self["kwargs"]), own
        all_args = (*args, *self["args"]) if args else tuple(self["args"])
        return all_args, {**self["kwargs"], **(kwargs or {})}, own

    def set_immutable(self, immutable: bool) -> None:
        """Say whether it keeps its arguments whatever a workflow would add."""
        self["immutable"] = bool(immutable)

    def link(self, callback: Any) -> Any:
        """Have ``callback`` sent when the task succeeded, in addition; return the callback."""
        return self.append_to_list_option("link", callback)

    def link_error(self, errback: Any) -> Any:
        """Have ``errback`` sent when the task failed, in addition; return the errback."""
        return self.append_to_list_option("link_error", errback)

    def on_error(self, errback: Any) -> Self:
        """Do as ``link_error``; return itself."""
        self.link_error(errback)
        return self

    def append_to_list_option(self, key: str, value: Any) -> Any:
        """Append to the option, unless it is there; return the value."""
        items = self._list_option(key)
        if value not in items:
            items.append(value)
        return value

    def extend_list_option(self, key: str, value: Any) -> None:
        """Append several values, or one, to the option."""
        self._list_option(key).extend(as_list(value))

    def _list_option(self, key: str) -> list[Any]:
        items = self.options.get(key)
        if not isinstance(items, list):
            items = self.options[key] = as_list(items)
        return items

    @property
    def task(self) -> str:
        """The task's name."""
        return str(self["task"])

    @task.setter
    def task(self, name: str) -> None:
        self["task"] = name

    @property
    def name(self) -> str:
        """The task's name."""
        return str(self["task"])

    @property
    def args(self) -> Any:
        """The positional arguments."""
        return self["args"]

    @args.setter
    def args(self, args: Sequence[Any]) -> None:
        self["args"] = tuple(args)

    @property
    def kwargs(self) -> dict[str, Any]:
        """The keyword arguments."""
        return cast("dict[str, Any]", self["kwargs"])

    @kwargs.setter
    def kwargs(self, kwargs: Mapping[str, Any]) -> None:
        self["kwargs"] = dict(kwargs)

    @property
    def options(self) -> dict[str, Any]:
        """The options of the call."""
        return cast("dict[str, Any]", self["options"])

    @options.setter
    def options(self, options: Mapping[str, Any]) -> None:
        self["options"] = dict(options)

    @property
    def subtask_type(self) -> str | None:
        """The kind of workflow it is; None for a plain call."""
        return cast("str | None", self["subtask_type"])

    @property
    def immutable(self) -> bool:
        """Whether it keeps its arguments whatever a workflow would add."""
        return bool(self["immutable"])

    @immutable.setter
    def immutable(self, immutable: bool) -> None:
        self.set_immutable(immutable)

    @property
    def id(self) -> str | None:
        """The id the run will have, if that is settled."""
        return self.options.get("task_id")

    @property
    def parent_id(self) -> str | None:
        """The task that the run will name as its parent."""
        return self.options.get("parent_id")

    @property
    def root_id(self) -> str | None:
        """The first task of the workflow."""
        return self.options.get("root_id")

    def reprcall(self, *args: Any, **kwargs: Any) -> str:
        """Return the call as text, with these arguments in addition."""
        all_args, all_kwargs, _ = self.merged(args, kwargs, {}, force=True)
        shown = [repr(one) for one in all_args]
        shown += [f"{name}={value!r}" for name, value in all_kwargs.items()]
        return f"{self['task']}({', '.join(shown)})"

    def __repr__(self) -> str:
        return self.reprcall()


def as_list(value: Any) -> list[Any]:
    """Return one value, several, or none, as a list."""
    if value is None:
        return []
    if isinstance(value, Mapping | str) or not isinstance(value, Iterable):
        return [value]
    return list(value)
