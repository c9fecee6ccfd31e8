"""Every legal way to nest workflows, and the value that each gives: one table for all runners.

Rows are named after docs/reference/workflows.md. ``VALUES`` have the value Celery gives too, seen
with Celery 5.7 on Redis, except where a row says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from umbel.app.app import App
from umbel.workflows.canvas import chain, chord, group


class Tasks:
    """The tasks that the rows are made of, on one app."""

    def __init__(self, app: App) -> None:
        self.told: list[str] = []
        self.c = app.task(name="c")(lambda value: value)
        self.tag = app.task(name="tag")(lambda value, name: [name, value])
        self.ident = app.task(name="ident")(lambda *all_: list(all_) if len(all_) != 1 else all_[0])
        self.add = app.task(name="add")(lambda x, y: x + y)
        self.boom = app.task(name="boom")(_boom)
        self.heard = app.task(name="heard")(self._heard)
        self.heard_id = app.task(name="heard_id")(self._heard_id)

        @app.task(bind=True, name="replaced")
        def replaced(self: Any, value: Any, by: str) -> None:
            x, y = tag.si(value, "x"), tag.si(value, "y")
            kinds = {
                "task": lambda: tag.s(value, "by"),
                "chain": lambda: x | tag.s("y"),
                "group": lambda: group(x, y),
                "chord": lambda: chord([x, y], tag.s("body")),
            }
            self.replace(kinds[by]())

        @app.task(bind=True, name="adding")
        def adding(self: Any, value: Any) -> Any:
            self.add_to_chord(tag.s(value, "added"))
            return value

        tag = self.tag
        self.replaced, self.adding = replaced, adding

    def n(self, value: Any) -> Any:
        """A call that takes nothing from what ran before and gives this value."""
        return self.c.si(value)

    def t(self, name: str) -> Any:
        """A call that marks the value it gets."""
        return self.tag.s(name)

    # ``link_error`` in both of Celery's calling styles

    def _heard(self, request: Any, exc: BaseException, traceback: str | None) -> None:
        self.told.append(f"{type(exc).__name__} of {request.id}")

    def _heard_id(self, failed_id: str) -> None:
        self.told.append(f"id {failed_id}")


def _boom(*_: Any) -> None:
    raise ValueError("boom")


Row = Callable[[Tasks], Any]
AB = [["a", 1], ["b", 1]]

VALUES: Mapping[str, tuple[Row, Any]] = {
    "task | task": (lambda t: t.n(1) | t.t("a"), ["a", 1]),
    "chain of one": (lambda t: chain(t.n(1)), 1),
    "chain | chain": (
        lambda t: (t.n(1) | t.t("a")) | (t.t("b") | t.t("c")),
        ["c", ["b", ["a", 1]]],
    ),
    "task | chain": (lambda t: t.n(1) | chain(t.t("a"), t.t("b")), ["b", ["a", 1]]),
    "chain in chain": (
        lambda t: chain(t.n(1), chain(t.t("a"), chain(t.t("b"))), t.t("c")),
        ["c", ["b", ["a", 1]]],
    ),
    "immutable step": (lambda t: chain(t.n(1), t.n(2), t.t("a")), ["a", 2]),
    "None is passed on": (lambda t: t.n(None) | t.t("a"), ["a", None]),
    "group": (lambda t: group(t.n(1), t.n(2)), [1, 2]),
    "group of none": (lambda _: group(), []),
    "group in group": (lambda t: group(t.n(1), group(t.n(2), group(t.n(3))), t.n(4)), [1, 2, 3, 4]),
    "chain in group": (lambda t: group(t.n(1) | t.t("a"), t.n(2) | t.t("b")), [["a", 1], ["b", 2]]),
    "chord in group": (lambda t: group(chord([t.n(1), t.n(2)], t.ident.s()), t.n(5)), [[1, 2], 5]),
    "chain ending in a group, in a group": (
        lambda t: group(t.n(1) | group(t.t("a"), t.t("b")), t.n(5)),
        [AB, 5],
    ),
    "task | group": (lambda t: t.n(1) | group(t.t("a"), t.t("b")), AB),
    "task | group | task": (lambda t: t.n(1) | group(t.t("a"), t.t("b")) | t.ident.s(), AB),
    "task | group | group": (
        lambda t: t.n(1) | group(t.t("a"), t.t("b")) | group(t.t("c"), t.t("d")),
        [["c", AB], ["d", AB]],
    ),
    "task | group | group | task": (
        lambda t: t.n(1) | group(t.t("a")) | group(t.t("b"), t.t("c")) | t.ident.s(),
        [["b", [["a", 1]]], ["c", [["a", 1]]]],
    ),
    "group | task": (lambda t: group(t.n(1), t.n(2)) | t.t("a"), ["a", [1, 2]]),
    "group of one | task": (lambda t: group(t.n(1)) | t.ident.s(), [1]),
    "chain(group of one, task)": (lambda t: chain(group(t.n(1)), t.ident.s()), 1),
    "group of none | task": (lambda t: group() | t.t("a"), ["a", []]),
    "task | group of none": (lambda t: t.n(1) | group(), 1),
    "task | group of none | task": (lambda t: t.n(1) | group() | t.ident.s(), []),
    "group | group": (
        lambda t: group(t.n(1), t.n(2)) | group(t.t("a"), t.t("b")),
        [["a", [1, 2]], ["b", [1, 2]]],
    ),
    "group | chain": (
        lambda t: group(t.n(1), t.n(2)) | (t.t("a") | t.t("b")),
        ["b", ["a", [1, 2]]],
    ),
    "chain(task, chain(group, task), task)": (
        lambda t: chain(t.n(1), chain(group(t.t("a"), t.t("b")), t.ident.s()), t.t("e")),
        ["e", AB],
    ),
    "chord": (lambda t: chord([t.n(1), t.n(2)], t.t("a")), ["a", [1, 2]]),
    "chord of one": (lambda t: chord([t.n(1)], t.t("a")), ["a", [1]]),
    "chord of none": (lambda t: chord([], t.t("a")), ["a", []]),
    "task | chord of none": (lambda t: chain(t.n(1), chord([], t.t("a"))), ["a", []]),
    "chord with an immutable body": (lambda t: chord([t.n(1)], t.n(7)), 7),
    "chord with a chain as body": (
        lambda t: chord([t.n(1), t.n(2)], t.t("a") | t.t("b")),
        ["b", ["a", [1, 2]]],
    ),
    "chord with a group as body": (
        lambda t: chord([t.n(1), t.n(2)], group(t.t("a"), t.t("b"))),
        [["a", [1, 2]], ["b", [1, 2]]],
    ),
    "chord with a chord as body": (
        lambda t: chord([t.n(1), t.n(2)], chord([t.t("a"), t.t("b")], t.t("c"))),
        ["c", [["a", [1, 2]], ["b", [1, 2]]]],
    ),
    "chord | task": (lambda t: chord([t.n(1)], t.ident.s()) | t.t("a"), ["a", [1]]),
    "chord | group": (
        lambda t: chord([t.n(1), t.n(2)], t.ident.s()) | group(t.t("a"), t.t("b")),
        [["a", [1, 2]], ["b", [1, 2]]],
    ),
    "chord | chord": (
        lambda t: chord([t.n(1)], t.ident.s()) | chord([t.t("a"), t.t("b")], t.ident.s()),
        [["a", [1]], ["b", [1]]],
    ),
    "task | chord": (lambda t: t.n(1) | chord([t.t("a"), t.t("b")], t.ident.s()), AB),
    "chord with a group as body, then a task": (
        lambda t: chain(chord([t.n(1)], group(t.t("a"), t.t("b"))), t.ident.s()),
        [["a", [1]], ["b", [1]]],
    ),
    "group in a header": (  # Celery gives the members in another order
        lambda t: chord([group(t.n(1), t.n(2)), t.n(3)], t.ident.s()),
        [1, 2, 3],
    ),
    "group in group in a header": (  # as above
        lambda t: chord([group(t.n(1), group(t.n(2), t.n(3))), t.n(4)], t.ident.s()),
        [1, 2, 3, 4],
    ),
    "chain in a header": (lambda t: chord([t.n(1) | t.t("a"), t.n(3)], t.ident.s()), [["a", 1], 3]),
    "chain ending in a group, in a header": (
        lambda t: chord([t.n(1) | group(t.t("a"), t.t("b")), t.n(3)], t.ident.s()),
        [AB, 3],
    ),
    "chain ending in a chord, in a header": (
        lambda t: chord([t.n(1) | chord([t.t("a")], t.t("b")), t.n(3)], t.ident.s()),
        [["b", [["a", 1]]], 3],
    ),
    "chord in a header": (
        lambda t: chord([chord([t.n(1), t.n(2)], t.ident.s()), t.n(3)], t.ident.s()),
        [[1, 2], 3],
    ),
    "chord with a group as body, in a header": (
        lambda t: chord([chord([t.n(1)], group(t.t("a"), t.t("b"))), t.n(9)], t.ident.s()),
        [[["a", [1]], ["b", [1]]], 9],
    ),
    "five chords in each other": (
        lambda t: _deep(t, 5),
        [[[[[0, 0], 0], 0], 0], 0],
    ),
    "map": (lambda t: t.c.map([1, 2]), [1, 2]),
    "starmap": (lambda t: t.add.starmap([(1, 2), (3, 4)]), [3, 7]),
    "chunks": (lambda t: t.add.chunks([(i, i) for i in range(5)], 2), [[0, 2], [4, 6], [8]]),
    "chunks | task": (lambda t: t.add.chunks([(1, 2), (3, 4)], 1) | t.ident.s(), [[3], [7]]),
    "chunks in a header": (
        lambda t: chord([t.add.chunks([(1, 2)], 1), t.n(5)], t.ident.s()),
        [[3], 5],
    ),
    "map in a chain": (lambda t: t.n(1) | t.c.map([1, 2]) | t.t("a"), ["a", [1, 2]]),
    "replaced by a task": (lambda t: t.replaced.si(5, "task") | t.t("n"), ["n", ["by", 5]]),
    "replaced by a chain": (lambda t: t.replaced.si(5, "chain") | t.t("n"), ["n", ["y", ["x", 5]]]),
    "replaced by a group": (
        lambda t: t.replaced.si(5, "group") | t.t("n"),
        ["n", [["x", 5], ["y", 5]]],
    ),
    "replaced by a chord": (
        lambda t: t.replaced.si(5, "chord") | t.t("n"),
        ["n", ["body", [["x", 5], ["y", 5]]]],
    ),
    "replaced in a header": (
        lambda t: chord(
            [t.replaced.si(5, kind) for kind in ("task", "chain", "group")], t.ident.s()
        ),
        [["by", 5], ["y", ["x", 5]], [["x", 5], ["y", 5]]],
    ),
    "added to a chord": (
        lambda t: chord([t.adding.si(1), t.n(2)], t.ident.s()),
        [1, 2, ["added", 1]],
    ),
}


def _deep(t: Tasks, levels: int) -> Any:
    if levels == 0:
        return t.n(0)
    return chord([_deep(t, levels - 1), t.n(0)], t.ident.s())


FAILURES: Mapping[str, tuple[Row, int]] = {
    # row: (the workflow, how many times its error callback is called)
    "task": (lambda t: t.boom.si(), 1),
    "chain, first": (lambda t: t.boom.si() | t.t("a") | t.t("b"), 1),
    "chain, in the middle": (lambda t: t.n(1) | t.boom.s() | t.t("b"), 1),
    "chain, last": (lambda t: t.n(1) | t.boom.s(), 1),
    "group, two of three": (lambda t: group(t.n(1), t.boom.si(), t.boom.si()), 2),
    "chord, one of the header": (lambda t: chord([t.n(1), t.boom.si()], t.ident.s()), 1),
    "chord, two of the header": (lambda t: chord([t.boom.si(), t.boom.si()], t.ident.s()), 1),
    "chord, the body": (lambda t: chord([t.n(1), t.n(2)], t.boom.s()), 1),
    "chord, a chain in the header": (
        lambda t: chord([t.n(1) | t.boom.s() | t.t("a"), t.n(2)], t.ident.s()),
        1,
    ),
    "chord, a chord in the header": (
        lambda t: chord([chord([t.boom.si()], t.ident.s()), t.n(2)], t.ident.s()),
        1,
    ),
    "chord, then a chain": (lambda t: chord([t.boom.si()], t.ident.s()) | t.t("a") | t.t("b"), 1),
    "chain before a chord": (lambda t: t.boom.si() | chord([t.t("a")], t.ident.s()), 1),
    "replaced by what fails": (lambda t: chain(t.replaced.si(1, "task"), t.boom.s()), 1),
}
