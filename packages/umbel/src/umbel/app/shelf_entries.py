"""What ``app.quarantine`` and ``app.delayed`` have in common: reading a shelf, page by page.

An app's shelf is that of the queues it knows and of those that living workers consume, or of those
named. Every walk holds one page in memory, however many messages rest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

import msgspec

from umbel.errors import ImproperlyConfigured, NotResting, UsageError, WireError
from umbel.model.message import TaskMessage
from umbel.model.shelves import Selection, Shelf, Shelved, Withdrawal
from umbel.ports import Shelves
from umbel.wire import envelope
from umbel.workflows.advancing import NeverBegun, never_begun

if TYPE_CHECKING:
    from umbel.app.app import App

PAGE = 100
"""Messages in memory at a time, and in one withdrawal."""

Names: TypeAlias = str | Iterable[str] | None
"""One name, several, or None: whatever."""

_LITERAL = re.compile(rb"[A-Za-z0-9_.:-]+")
"""What stands for itself in a pattern and is written as it is in every envelope."""


class ShelvedTask(msgspec.Struct, frozen=True, kw_only=True):
    """One message at rest. What cannot be read of it is None.

    ``key`` names the message at its broker until it is moved; ``task_id`` is the id of the run, the
    same in all its retries. ``args`` and ``kwargs`` are as shown by whoever sent it. ``deliveries``
    is how many ended without an outcome.
    """

    key: str
    queue: str
    task: str | None
    task_id: str | None
    args: str | None
    kwargs: str | None
    retries: int
    deliveries: int
    reason: str
    raw: bytes


T = TypeVar("T", bound=ShelvedTask)


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which tasks of a shelf are meant; patterns are those of the shell (``shop.*``)."""

    ids: frozenset[str] = frozenset()
    tasks: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None

    def selection(self) -> Selection:
        """Return as much of it as the broker can look for."""
        containing: tuple[bytes, ...] = ()
        if self.ids:
            containing = _all_plain(self.ids, lambda text: text)
        elif self.tasks:
            containing = _all_plain(self.tasks, _longest_literal)
        return Selection(since=self.since, until=self.until, containing=containing)

    def includes(self, entry: Shelved, task: ShelvedTask) -> bool:
        """Tell whether a message that the broker told of is meant."""
        return (
            (not self.ids or task.task_id in self.ids or task.key in self.ids)
            and (not self.tasks or _matches(task.task, self.tasks))
            and (not self.errors or _matches(entry.error, self.errors))
        )


class TaskShelf(Generic[T]):
    """One kind of resting tasks of an app. Thread-safe. Base of the two there are."""

    shelf: Shelf
    what: str
    """What its tasks are, for a message."""

    def __init__(self, app: App) -> None:
        self._app = app

    def queues(self) -> list[str]:
        """Return the queues that are looked at where none are named."""
        known = dict.fromkeys(self._app.router.queues)
        for presence in self._app.broker.presences():
            known.update(dict.fromkeys(presence.queues))
        return list(known)

    def shelves(self) -> Shelves:
        """Return the broker's shelves. Raises NotSupported where it has none."""
        app = self._app
        return app.broker.shelves(app.result_backend if app.has_result_backend else None)

    def read(self, entry: Shelved) -> T:
        """Return what can be told of a message."""
        raise NotImplementedError

    # --- walking ----------------------------------------------------------------------------------

    def pages(self, queues: Names, wanted: Wanted) -> Iterator[tuple[str, list[T]]]:
        """Yield queue and tasks, a page at a time, queue by queue in the order of the shelf."""
        shelves = self.shelves()
        places = names(queues) or self.queues()
        if wanted.ids:
            known: set[str] = set()
            for queue in places:
                entries = shelves.fetch(self.shelf, queue, sorted(wanted.ids))
                known.update(entry.id for entry in entries)
                found = [self.read(entry) for entry in entries]
                if found:
                    yield queue, found
            if not wanted.ids - known:
                return
            wanted = msgspec.structs.replace(wanted, ids=wanted.ids - known)
        for queue in places:
            for found in self._search(shelves, queue, wanted):
                yield queue, found

    def _search(self, shelves: Shelves, queue: str, wanted: Wanted) -> Iterator[list[T]]:
        selection = wanted.selection()
        after: str | None = None
        while True:
            page = shelves.page(self.shelf, queue, selection, after=after, limit=PAGE)
            tasks = [(entry, self.read(entry)) for entry in page.entries]
            found = [task for entry, task in tasks if wanted.includes(entry, task)]
            if found:
                yield found
            after = page.after
            if after is None:
                return

    def walk(self, queues: Names, wanted: Wanted, limit: int | None) -> Iterator[T]:
        """Yield tasks one by one, at most ``limit``."""
        left = limit
        for _, found in self.pages(queues, wanted):
            for task in found:
                if left is not None:
                    if left <= 0:
                        return
                    left -= 1
                yield task

    def one(self, task_id: str, queues: Names) -> T:
        """Return the task with this id or key. Raises NotResting."""
        found = next(self.walk(queues, Wanted(ids=frozenset([task_id])), 1), None)
        if found is None:
            where = ", ".join(names(queues) or self.queues())
            raise NotResting(f"No task {task_id!r} is {self.what} in {where}.")
        return found

    def move(
        self, queues: Names, wanted: Wanted, withdrawal: Callable[[T], Withdrawal | None]
    ) -> int:
        """Withdraw what is wanted, a page at a time; return how many were still there."""
        shelves = self.shelves()
        moved = 0
        for queue, found in self.pages(queues, wanted):
            leaving = [one for one in map(withdrawal, found) if one is not None]
            if leaving:
                moved += len(shelves.withdraw(self.shelf, queue, leaving))
        return moved

    # --- what every act asks ----------------------------------------------------------------------

    def must_be_meant(self, act: str, wanted: Wanted, *, everything: bool) -> None:
        """Raise UsageError where nothing was named and ``everything`` was not said either."""
        if wanted == Wanted() and not everything:
            raise UsageError(
                f"{act}() acts on what is named by ids or by a filter such as task=; to mean all "
                f"that is {self.what}, say everything=True."
            )

    def opened(self, task: ShelvedTask) -> TaskMessage | None:
        """Return its message, or None where that cannot be read here."""
        try:
            return self._app.decode(envelope.load(task.raw))
        except (WireError, ImproperlyConfigured):
            return None


def runs_after(message: TaskMessage | None) -> list[NeverBegun]:
    """Return the runs behind one in its chain, which wait for it."""
    return [] if message is None else list(never_begun(message.chain))


def described(entry: Shelved) -> dict[str, object]:
    """Return the fields of ``ShelvedTask`` for a message."""
    fields: dict[str, object] = {
        "key": entry.id,
        "queue": entry.queue,
        "deliveries": entry.count,
        "reason": entry.reason,
        "raw": entry.raw,
        "task": None,
        "task_id": None,
        "args": None,
        "kwargs": None,
        "retries": 0,
    }
    try:
        peek = envelope.peek(entry.raw)
    except WireError:
        return fields
    fields.update(
        task=peek.task,
        task_id=peek.id,
        args=peek.argsrepr,
        kwargs=peek.kwargsrepr,
        retries=peek.retries,
    )
    return fields


def names(given: Names) -> tuple[str, ...]:
    """Return one name, several or none as a tuple."""
    if given is None:
        return ()
    return (given,) if isinstance(given, str) else tuple(given)


def _matches(text: str | None, patterns: Sequence[str]) -> bool:
    return text is not None and any(fnmatchcase(text, pattern) for pattern in patterns)


def _longest_literal(pattern: str) -> str:
    if "[" in pattern:
        return ""
    return max(re.split(r"[*?]", pattern), key=len)


def _all_plain(texts: Iterable[str], part: Callable[[str], str]) -> tuple[bytes, ...]:
    """Return a text for each that its message surely contains; nothing if that is not sure."""
    found = []
    for text in texts:
        plain = part(text).encode("utf-8", "replace")
        if not _LITERAL.fullmatch(plain):
            return ()
        found.append(plain)
    return tuple(found)
