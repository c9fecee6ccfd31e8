"""Why a task is not running: one ordered answer, out of small checks.

``app.explain(task_id)`` and ``umbel explain``. Each check looks at one thing and yields what it
found; ``CHECKS`` is their order, and who adds another reason for waiting adds a check. A check that
cannot look (the broker shows no queues, nobody answers) says so instead of saying nothing. Nothing
is changed, and nothing is claimed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from umbel.errors import NotResting, NotSupported, OperationalError, WireError
from umbel.model.outcome import READY_STATES
from umbel.wire import envelope
from umbel.wire.waiting_since import waiting_since

if TYPE_CHECKING:
    from umbel.app.app import App
    from umbel.app.delayed import DelayedTask
    from umbel.app.quarantine import QuarantinedTask
    from umbel.model.presence import Presence
    from umbel.wire.envelope import Peek

PAGE = 1000
"""Messages of a queue in memory at a time."""
DEPTH = 100_000
"""Messages of a queue that are looked at, at most."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one check found. ``reason``: it is why the task does not run."""

    check: str
    says: str
    """One sentence."""
    reason: bool = False
    facts: Mapping[str, Any] = {}
    """The same for programs; moments as ISO 8601 text."""


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was found of a task, the first cause first."""

    task_id: str
    found: bool
    """Whether anything is known of this id."""
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> str:
        """The first cause, or else where the task is; one sentence."""
        for finding in self.findings:
            if finding.reason:
                return finding.says
        return self.findings[0].says


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A message that waits to be claimed; ``position`` 1 is claimed next."""

    queue: str
    position: int
    raw: bytes
    peek: Peek


class Inquiry:
    """What is known of one task. Each thing is looked up when it is first asked for, once."""

    def __init__(
        self, app: App, task_id: str, *, timeout: float, depth: int, queues: Sequence[str]
    ) -> None:
        self.app = app
        self._named = queues
        self.task_id = task_id
        self.timeout = timeout
        """Seconds for which workers may keep us waiting."""
        self.depth = depth

    @functools.cached_property
    def presences(self) -> Sequence[Presence]:
        """The workers that are alive."""
        return self.app.broker.presences()

    @functools.cached_property
    def queues(self) -> Sequence[str]:
        """Those that were named, those of the app and its tasks, those that somebody consumes."""
        known = dict.fromkeys((*self._named, *self.app.router.queues))
        own = (task.own_attribute("queue") for task in self.app.tasks.values())
        known.update((str(getattr(queue, "name", queue)), None) for queue in own if queue)
        for presence in self.presences:
            known.update(dict.fromkeys(presence.queues))
        return list(known)

    @functools.cached_property
    def state(self) -> str | None:
        """The stored state; None where none is."""
        if not self.app.has_result_backend:
            return None
        record = self.app.result_backend.fetch([self.task_id]).get(self.task_id)
        return None if record is None else record.state

    @functools.cached_property
    def over(self) -> bool:
        """Whether it has come to its end."""
        return self.state in READY_STATES

    @functools.cached_property
    def resting(self) -> DelayedTask | None:
        """It, where it rests until a later time."""
        if not self.app.broker.capabilities.resting:
            return None
        try:
            return self.app.delayed.get(self.task_id, queues=self.queues)
        except NotResting:
            return None

    @functools.cached_property
    def set_aside(self) -> QuarantinedTask | None:
        """It, where it is in quarantine."""
        if not self.app.broker.capabilities.quarantine:
            return None
        try:
            return self.app.quarantine.get(self.task_id, queues=self.queues)
        except NotResting:
            return None

    @functools.cached_property
    def waiting(self) -> Waiting | None:
        """It, where it waits in a queue among the first ``depth`` messages."""
        if not self.app.broker.capabilities.shows_waiting:
            return None
        return next(filter(None, map(self._look_in, self.queues)), None)

    def _look_in(self, queue: str) -> Waiting | None:
        wanted = self.task_id.encode("utf-8", "replace")
        seen = 0
        while seen < self.depth:
            raws = self.app.broker.waiting(queue, skip=seen, limit=PAGE)
            for index, raw in enumerate(raws):
                peek = _peek(raw) if wanted in raw else None
                if peek is not None and peek.id == self.task_id:
                    return Waiting(queue=queue, position=seen + index + 1, raw=raw, peek=peek)
            seen += len(raws)
            if len(raws) < PAGE:
                return None
        return None

    @functools.cached_property
    def held(self) -> tuple[str, str] | None:
        """The node that holds it, and ``active`` or ``reserved``; None where nobody says so."""
        replies = self.app.control.inspect(timeout=self.timeout).query_task(self.task_id) or {}
        for node, tasks in replies.items():
            if isinstance(tasks, Mapping) and self.task_id in tasks:
                return str(node), str(tasks[self.task_id][0])
        return None

    @property
    def queue(self) -> str | None:
        """The queue that it is in, in whatever state."""
        place = self.waiting or self.resting or self.set_aside
        return None if place is None else place.queue


Check: TypeAlias = Callable[[Inquiry], Iterator[Finding]]


def explain(
    app: App,
    task_id: str,
    *,
    timeout: float = 1.0,
    depth: int = DEPTH,
    queues: Sequence[str] = (),
) -> Explanation:
    """Return why this task is not running, or where it is.

    ``queues``: more queues to look into, beside those of the app, of its tasks and of workers;
    ``timeout``: seconds to wait for workers, who are asked only if the stores know nothing;
    ``depth``: messages of each queue that are looked at. Raises OperationalError where the broker
    or the result store does not answer. Any thread may call it.
    """
    inquiry = Inquiry(app, task_id, timeout=timeout, depth=depth, queues=queues)
    findings = tuple(finding for check in CHECKS for finding in check(inquiry))
    if not findings:
        findings = (_unknown(inquiry),)
    known = any(finding.check not in ("unknown", "cannot look") for finding in findings)
    return Explanation(task_id=task_id, found=known, findings=findings)


# --- the checks, in the order of their answers ----------------------------------------------------


def check_over(inquiry: Inquiry) -> Iterator[Finding]:
    """It has run, or will not."""
    if inquiry.over:
        yield Finding(
            check="over",
            says=f"It is over: its stored state is {inquiry.state}.",
            reason=True,
            facts={"state": inquiry.state},
        )


def check_set_aside(inquiry: Inquiry) -> Iterator[Finding]:
    """It was set aside: nobody claims it until a person says so."""
    aside = inquiry.set_aside
    if aside is None:
        return
    error = f" ({aside.error})" if aside.error else ""
    yield Finding(
        check="set aside",
        says=f"It was set aside in queue {aside.queue} at {_iso(aside.since)}: "
        f"{aside.reason}{error}. umbel quarantine retry {inquiry.task_id} runs it again.",
        reason=True,
        facts={
            "queue": aside.queue,
            "since": _iso(aside.since),
            "reason": aside.reason,
            "error": aside.error,
            "worker": aside.worker,
            "deliveries": aside.deliveries,
        },
    )


def check_resting(inquiry: Inquiry) -> Iterator[Finding]:
    """It rests: for its time, for its next try, or for somebody who knows it."""
    resting = inquiry.resting
    if resting is None:
        return
    facts: dict[str, Any] = {
        "queue": resting.queue,
        "due": _iso(resting.due),
        "kind": resting.kind,
    }
    if resting.kind == "parked":
        says = (
            f"It is parked in queue {resting.queue}: {resting.reason}. "
            f"It is tried again at {_iso(resting.due)}."
        )
        facts["reason"] = resting.reason
    elif resting.kind == "retry":
        says = (
            f"Its try number {resting.retries + 1} is due at {_iso(resting.due)}, "
            f"{_until(resting.due)}, in queue {resting.queue}."
        )
        facts["retries"] = resting.retries
    else:
        says = f"It is due at {_iso(resting.due)}, {_until(resting.due)}, in queue {resting.queue}."
    yield Finding(check="resting", says=says, reason=True, facts=facts)


def check_expired(inquiry: Inquiry) -> Iterator[Finding]:
    """It waits, and its time is over: the worker that claims it will drop it."""
    waiting = inquiry.waiting
    if waiting is None or waiting.peek.expires is None:
        return
    if waiting.peek.expires <= datetime.now(UTC):
        yield Finding(
            check="expired",
            says=f"It expired at {_iso(waiting.peek.expires)}: the worker that claims it will "
            "not run it.",
            reason=True,
            facts={"expires": _iso(waiting.peek.expires)},
        )


def check_paused(inquiry: Inquiry) -> Iterator[Finding]:
    """It is in a queue that somebody has paused."""
    queue = inquiry.queue
    if queue is None or inquiry.set_aside is not None:
        return
    for stats in inquiry.app.broker.stats([queue]):
        if stats.paused_since is None:
            continue
        by = f" by {stats.paused_by}" if stats.paused_by else ""
        yield Finding(
            check="paused",
            says=f"Queue {queue} was paused{by} at {_iso(stats.paused_since)}. "
            f"umbel resume {queue} lets workers take from it again.",
            reason=True,
            facts={"queue": queue, "by": stats.paused_by, "since": _iso(stats.paused_since)},
        )


def check_consumed(inquiry: Inquiry) -> Iterator[Finding]:
    """It is in a queue that nobody takes from."""
    queue = inquiry.queue
    if queue is None or inquiry.set_aside is not None:
        return
    nodes = [one.name for one in inquiry.presences if queue in one.queues]
    if not nodes:
        others = sorted({name for one in inquiry.presences for name in one.queues})
        alive = f"those alive consume {', '.join(others)}" if others else "no worker is alive"
        yield Finding(
            check="consumed",
            says=f"No worker consumes queue {queue}: {alive}. Start one with -Q {queue}.",
            reason=True,
            facts={"queue": queue, "consumed": others},
        )


def check_waiting(inquiry: Inquiry) -> Iterator[Finding]:
    """It waits its turn."""
    waiting = inquiry.waiting
    if waiting is None:
        return
    consumers = [one for one in inquiry.presences if waiting.queue in one.queues]
    busy = sum(one.active for one in consumers)
    slots = sum(one.concurrency for one in consumers)
    since = waiting_since(waiting.raw)
    waited = "" if since is None else f", since {_iso(since)}"
    working = ""
    if consumers:
        who = "1 worker" if len(consumers) == 1 else f"{len(consumers)} workers"
        working = f"; {who} with {busy} of {slots} slots busy"
    yield Finding(
        check="waiting",
        says=f"It waits in queue {waiting.queue} at position {waiting.position}{waited}{working}.",
        reason=True,
        facts={
            "queue": waiting.queue,
            "position": waiting.position,
            "since": None if since is None else _iso(since),
            "priority": waiting.peek.priority,
            "workers": [one.name for one in consumers],
            "slots": slots,
            "busy": busy,
        },
    )


def check_held(inquiry: Inquiry) -> Iterator[Finding]:
    """A worker has it."""
    if inquiry.over or inquiry.queue is not None:
        return
    try:
        held = inquiry.held
    except (NotSupported, OperationalError) as error:
        yield Finding(check="cannot look", says=f"Workers cannot be asked for it: {error}")
        return
    if held is None:
        return
    node, state = held
    says = f"It is running on {node}." if state == "active" else f"{node} has it and runs it next."
    yield Finding(check="held", says=says, facts={"worker": node, "state": state})


def check_state(inquiry: Inquiry) -> Iterator[Finding]:
    """A state on its way."""
    if inquiry.state is not None and not inquiry.over:
        yield Finding(
            check="state",
            says=f"Its stored state is {inquiry.state}.",
            facts={"state": inquiry.state},
        )


def check_what_cannot_be_seen(inquiry: Inquiry) -> Iterator[Finding]:
    """What this broker does not show, where that leaves the question open."""
    if inquiry.over or inquiry.queue is not None:
        return
    can = inquiry.app.broker.capabilities
    blind = [
        what
        for shown, what in (
            (can.shows_waiting, "what waits in queues"),
            (can.resting, "what rests until later"),
            (can.quarantine, "what was set aside"),
        )
        if not shown
    ]
    if blind:
        yield Finding(
            check="cannot look",
            says=f"This broker does not show {', '.join(blind)}: it may be there.",
            facts={"hidden": blind},
        )


CHECKS: Sequence[Check] = (
    check_over,
    check_set_aside,
    check_resting,
    check_expired,
    check_paused,
    check_consumed,
    check_waiting,
    check_held,
    check_state,
    check_what_cannot_be_seen,
)
"""In the order of the answer: what would have to go first stands first."""


def _unknown(inquiry: Inquiry) -> Finding:
    return Finding(
        check="unknown",
        says=f"Nothing is known of {inquiry.task_id}: it is in none of the queues "
        f"{', '.join(inquiry.queues)}, no worker has it, and no result of it is stored. It may "
        "have run with its result ignored or expired, or be in another queue or broker.",
        facts={"queues": list(inquiry.queues)},
    )


def _peek(raw: bytes) -> Peek | None:
    try:
        return envelope.peek(raw)
    except WireError:
        return None


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def _until(moment: datetime) -> str:
    left = (moment - datetime.now(UTC)).total_seconds()
    return f"in {left:.0f} s" if left > 0 else "which is now"
