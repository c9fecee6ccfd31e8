"""``app.control.inspect()``: asking workers what they are and what they do.

Every method returns ``{node: reply}``, or None where nobody answered, as in Celery; with one node's
name as the destination, that node's reply alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from umbel.control.client import merged

if TYPE_CHECKING:
    from umbel.app.control import Control


class Inspect:
    """Questions to all workers, or to those of ``destination`` or ``pattern``. Any thread."""

    def __init__(
        self,
        control: Control,
        destination: str | Sequence[str] | None = None,
        timeout: float = 1.0,
        callback: Callable[[Any], Any] | None = None,
        limit: int | None = None,
        pattern: str | None = None,
        matcher: str | None = None,
    ) -> None:
        """``timeout``: seconds without an answer after which the missing ones are given up.

        ``pattern`` is read as ``matcher`` says: ``glob`` (the default) or ``pcre``.
        """
        self._control = control
        self.destination = destination
        self.timeout = timeout
        self.callback = callback
        self.limit = limit
        self.pattern = pattern
        self.matcher = matcher

    def _ask(self, command: str, **arguments: Any) -> Any:
        only = self.destination if isinstance(self.destination, str) else None
        replies = self._control.broadcast(
            command,
            arguments=arguments,
            destination=[only] if only is not None else self.destination,
            reply=True,
            timeout=self.timeout,
            limit=self.limit,
            callback=self.callback,
            pattern=self.pattern,
            matcher=self.matcher,
        )
        found = merged(replies or ())
        if only is not None and not self.pattern:
            return found.get(only)
        return found or None

    def ask(self, command: str, **arguments: Any) -> Any:
        """Ask anything, such as a command of your own."""
        return self._ask(command, **arguments)

    def active(self, safe: bool | None = None) -> Any:
        """The tasks that run now; with ``safe`` their arguments are text."""
        return self._ask("active", safe=safe)

    def active_queues(self) -> Any:
        """The queues each takes from."""
        return self._ask("active_queues")

    def clock(self) -> Any:
        """Each one's logical clock."""
        return self._ask("clock")

    def conf(self, with_defaults: bool = False) -> Any:
        """The settings, secrets masked."""
        return self._ask("conf", with_defaults=with_defaults)

    def hello(self, from_node: str, revoked: Any = None) -> Any:
        """What a worker of Celery asks its neighbours when it begins."""
        return self._ask("hello", from_node=from_node, revoked=revoked)

    def memdump(self, samples: int = 10) -> Any:
        """How much memory each one's supervisor has, with the time."""
        return self._ask("memdump", samples=samples)

    def memsample(self) -> Any:
        """How much memory each one's supervisor has."""
        return self._ask("memsample")

    def objgraph(self, type: str = "Request", n: int = 200, max_depth: int = 10) -> Any:  # noqa: A002 - Celery's
        """Workers of Celery draw a graph; ours say that there is none."""
        return self._ask("objgraph", num=n, max_depth=max_depth, type=type)

    def ping(self, destination: str | Sequence[str] | None = None) -> Any:
        """Who answers."""
        if destination is not None:
            self.destination = destination
        return self._ask("ping")

    def query_task(self, *ids: str | Iterable[str]) -> Any:
        """What each knows of these tasks: ``{id: [state, info]}``."""
        wanted = list(ids[0]) if len(ids) == 1 and not isinstance(ids[0], str) else list(ids)
        return self._ask("query_task", ids=wanted)

    def registered(self, *taskinfoitems: str) -> Any:
        """The tasks each can run, with these attributes where they have a value."""
        return self._ask("registered", taskinfoitems=taskinfoitems)

    registered_tasks = registered

    def report(self) -> Any:
        """Versions and settings, as text."""
        return self._ask("report")

    def reserved(self) -> Any:
        """What each has taken and not begun."""
        return self._ask("reserved")

    def revoked(self) -> Any:
        """The ids that must not run."""
        return self._ask("revoked")

    def scheduled(self, safe: bool | None = None) -> Any:  # noqa: ARG002 - Celery's; always text
        """What rests until its time."""
        return self._ask("scheduled")

    def stats(self) -> Any:
        """What each is and has done."""
        return self._ask("stats")
