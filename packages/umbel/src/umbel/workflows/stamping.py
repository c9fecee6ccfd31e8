"""Stamps: named values put on every call of a workflow, seen in ``request.stamps``.

``Signature.stamp`` walks a workflow with a visitor, which says for each part what is put on it.
Called by ``signature``; knows workflows only by what they say of their parts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from umbel.errors import UsageError

if TYPE_CHECKING:
    from umbel.workflows.signature import Signature


class StampingVisitor(ABC):
    """Says what is put on each part of a workflow.

    Each method returns names and values. All of them are stamps, unless there is a name
    ``stamped_headers``: then those that it lists, and the others are headers of the message alone.
    ``headers`` is what has been said of the parts around this one.
    """

    def on_group_start(self, group: Any, **headers: Any) -> Mapping[str, Any]:  # noqa: ARG002
        """Called before the calls of a group; what it returns is put on all of them."""
        return {}

    def on_group_end(self, group: Any, **headers: Any) -> None:  # noqa: B027 - may be left out
        """Called after the calls of a group."""

    def on_chain_start(self, chain: Any, **headers: Any) -> Mapping[str, Any]:  # noqa: ARG002
        """Called before the calls of a chain; what it returns is put on all of them."""
        return {}

    def on_chain_end(self, chain: Any, **headers: Any) -> None:  # noqa: B027 - as above
        """Called after the calls of a chain."""

    @abstractmethod
    def on_signature(self, sig: Any, **headers: Any) -> Mapping[str, Any]:
        """Called for each single call."""

    def on_chord_header_start(self, sig: Any, **headers: Any) -> Mapping[str, Any]:
        """Called with a chord, before its header; as ``on_group_start`` unless overridden."""
        return self.on_group_start(sig["kwargs"]["header"], **headers)

    def on_chord_header_end(self, sig: Any, **headers: Any) -> None:
        """Called with a chord, after its header."""
        self.on_group_end(sig["kwargs"]["header"], **headers)

    def on_chord_body(self, sig: Any, **headers: Any) -> Mapping[str, Any]:  # noqa: ARG002
        """Called with a chord, before its body."""
        return {}

    def on_callback(self, callback: Any, **headers: Any) -> Mapping[str, Any]:  # noqa: ARG002
        """Called for each callback of a call."""
        return {}

    def on_errback(self, errback: Any, **headers: Any) -> Mapping[str, Any]:  # noqa: ARG002
        """Called for each error callback of a call."""
        return {}


class _Plain(StampingVisitor):
    """Puts nothing on anything but what the caller gave."""

    def on_signature(self, sig: Any, **headers: Any) -> Mapping[str, Any]:  # noqa: ARG002
        return {}


def stamp(
    sig: Signature[Any],
    visitor: StampingVisitor | None,
    headers: Mapping[str, Any],
    *,
    append: bool,
) -> None:
    """Put stamps on a call, or on every call of a workflow, in place."""
    walk = _Walk(visitor if visitor is not None else _Plain(), append)
    walk.visit(sig, _read(headers))


def stamp_links(
    sig: Signature[Any],
    visitor: StampingVisitor | None,
    headers: Mapping[str, Any],
    *,
    append: bool,
) -> None:
    """Put stamps on the callbacks and error callbacks of a call, in place."""
    _Walk(visitor if visitor is not None else _Plain(), append).links(sig, _read(headers))


def _read(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was said with the list of its stamps in it."""
    if not isinstance(said, Mapping):
        raise UsageError(f"a stamping visitor returns a mapping of names to values, not {said!r}.")
    found = dict(said)
    stamped = found.get("stamped_headers")
    found["stamped_headers"] = [*found] if stamped is None else list(stamped)
    return found


def _and(before: Mapping[str, Any], said: Mapping[str, Any] | None) -> dict[str, Any]:
    more = _read(said or {})
    names = [*before["stamped_headers"], *more["stamped_headers"]]
    return {**before, **more, "stamped_headers": list(dict.fromkeys(names))}


class _Walk:
    def __init__(self, visitor: StampingVisitor, append: bool) -> None:
        self._visitor = visitor
        self._append = append

    def visit(self, sig: Any, headers: dict[str, Any]) -> None:
        visitor = self._visitor
        match sig["subtask_type"]:
            case "chain":
                inner = _and(headers, visitor.on_chain_start(sig, **headers))
                self._each(sig.parts(), inner)
                visitor.on_chain_end(sig, **headers)
            case "group":
                inner = _and(headers, visitor.on_group_start(sig, **headers))
                self._each(sig.parts(), inner)
                visitor.on_group_end(sig, **headers)
            case "chord":
                inner = _and(headers, visitor.on_chord_header_start(sig, **headers))
                self._each(sig.tasks, inner)
                visitor.on_chord_header_end(sig, **headers)
                if sig["kwargs"].get("body") is not None:
                    self.visit(sig.body, _and(headers, visitor.on_chord_body(sig, **headers)))
            case _:
                self._put(sig, _and(headers, visitor.on_signature(sig, **headers)))
        self.links(sig, headers)

    def _each(self, parts: Any, headers: dict[str, Any]) -> None:
        for one in parts:
            self.visit(one, dict(headers))

    def links(self, sig: Any, headers: dict[str, Any]) -> None:
        for option, said in (
            ("link", self._visitor.on_callback),
            ("link_error", self._visitor.on_errback),
        ):
            links = sig.options.get(option)
            if not links:
                continue
            kind = sig.from_plain
            made = [kind(one) for one in ([links] if isinstance(links, Mapping) else links)]
            for one in made:
                self.visit(one, _and(headers, said(one, **headers)))
            sig.options[option] = made

    def _put(self, sig: Any, said: dict[str, Any]) -> None:
        options = sig.options
        there = list(options.get("stamped_headers") or ())
        for name in said["stamped_headers"]:
            if name not in said:
                continue
            if name not in there:
                options[name] = said[name]
                there.append(name)
            elif self._append and options[name] != said[name]:
                old = options[name] if isinstance(options[name], list) else [options[name]]
                options[name] = [*old, said[name]]
        if there:
            options["stamped_headers"] = there
        own = {
            name: value
            for name, value in said.items()
            if name != "stamped_headers" and name not in said["stamped_headers"]
        }
        if own:
            options["headers"] = {**(options.get("headers") or {}), **own}
