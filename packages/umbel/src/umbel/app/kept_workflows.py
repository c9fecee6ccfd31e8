"""Workflows that were kept when they were sent: looked at, gone on with, ended.

``app.workflow(id)`` returns one. The document is written before the first message is sent
(``workflow_sending``) where ``result_keep_workflows`` is on; what is known of the runs is read from
their results each time. Decision note 0031 tells what is kept where, and why.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from umbel.app import sending
from umbel.app.handles import revoke_all
from umbel.app.result_reading import read_record
from umbel.app.send_plan import Call
from umbel.app.workflow_calls import counting_backend, prepared
from umbel.drivers.elsewhere import outgoing_of
from umbel.errors import DecodeError, UsageError
from umbel.model.join import FillSlot, JoinStep, OpenJoin
from umbel.model.outcome import READY_STATES
from umbel.model.queues import FollowUp, Outgoing, Queue
from umbel.wire import envelope, task_v2
from umbel.wire.gathering import gathering_message
from umbel.wire.join_part import encode_part
from umbel.wire.serializers import SERIALIZERS
from umbel.workflows.beginning import Launch
from umbel.workflows.freezing import handle_on, id_of
from umbel.workflows.nodes import Node, drawn, node_of, run_ids
from umbel.workflows.planning import WORKFLOWS, Sig
from umbel.workflows.policies import Part
from umbel.workflows.redoing import Refill, affected, redone

if TYPE_CHECKING:
    from umbel.app.app import App

BATCH = 1000
"""Results that are read at once."""

_KEY = "umbel-workflow-"


def keep(app: App, whole: Sig, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Keep a workflow in normal form that is about to be sent, as long as results are kept."""
    settings = app.settings
    if not settings.result_keep_workflows or whole["subtask_type"] not in WORKFLOWS:
        return
    if not app.has_result_backend or not app.result_backend.counts_joins:
        return
    name = settings.task_serializer
    document = SERIALIZERS.get(name).dumps({"sig": whole, "args": list(args), "kwargs": kwargs})
    key = f"{_KEY}{id_of(whole)}"
    told = name.encode() + b"\n" + document
    app.result_backend.store_group(key, told, settings.result_expires or None)


class KeptWorkflow:
    """A workflow that was sent. Any thread may use it; nothing is remembered between calls."""

    def __init__(self, app: App, workflow_id: str) -> None:
        """Raises UsageError where no workflow is kept under this id."""
        self._app = app
        self.id = workflow_id
        document = app.result_backend.fetch_group(f"{_KEY}{workflow_id}")
        if document is None:
            raise UsageError(
                f"no workflow is kept under the id {workflow_id}: give the id of its last run, or "
                "of its last group, which is that of the handle. Workflows are kept as long as "
                "results (result_expires) where result_keep_workflows was on when they were sent; "
                "groups of more than 1,000 are not."
            )
        self._read(document)

    def _read(self, document: bytes) -> None:
        name, _, body = document.partition(b"\n")
        serializer = SERIALIZERS.get(name.decode(errors="replace"))
        accepted = self._app.settings.accept_content
        if serializer.content_type not in SERIALIZERS.content_types(accepted):
            raise DecodeError(
                f"the workflow {self.id} is kept as {serializer.name}, which accept_content "
                f"({', '.join(accepted)}) does not have."
            )
        kept = serializer.loads(body)
        self._sig: Sig = kept["sig"]
        self._args, self._kwargs = tuple(kept["args"]), kept["kwargs"]

    # --- looking ----------------------------------------------------------------------------------

    def status(self) -> Node:
        """Return how it stands: a tree of calls, each with its state. Raises OperationalError."""
        return node_of(self._sig, self._ends())

    def draw(self) -> str:
        """Return the same as text, for people."""
        return "\n".join(drawn(self.status()))

    @property
    def result(self) -> Any:
        """The handle that sending it returned."""
        return handle_on(self._sig, self._app)

    def _ends(self) -> dict[str, Part]:
        found: dict[str, Part] = {}
        ids = run_ids(self._sig)
        while some := list(itertools.islice(ids, BATCH)):
            for task_id, record in self._app.result_backend.fetch(some).items():
                meta = read_record(self._app, record)
                found[task_id] = Part(task_id, meta["status"], meta["result"])
        return found

    # --- going on ---------------------------------------------------------------------------------

    def resume(self, *, force: bool = False) -> Any:
        """Send again what failed, and what never ran because of that; return the handle.

        Runs that succeeded do not run again: their values are read from their results. ``force``:
        also what is not over, for a workflow whose messages are lost; what still runs may then run
        twice. Raises UsageError where nothing failed, where something is not over or was revoked,
        or a value that is needed is not kept any more.
        """
        ends = self._ends()
        return self._again({one for one in self._ids() if not _fine(ends.get(one))}, ends, force)

    def retry(self, run_id: str, *, force: bool = False) -> Any:
        """Send one run again, however it ended, and what comes after it; return the handle.

        What failed beside it stays as it is. ``force`` and errors as ``resume``.
        """
        if run_id not in set(self._ids()):
            raise UsageError(f"the workflow {self.id} has no run of the id {run_id}.")
        return self._again({run_id}, self._ends(), force)

    def _ids(self) -> Iterator[str]:
        return run_ids(self._sig)

    def _again(self, again: set[str], ends: Mapping[str, Part], force: bool) -> Any:
        if not again:
            raise UsageError(f"nothing of the workflow {self.id} has failed.")
        affected(self._sig, again)
        self._check(again, ends, force)
        expires = self._app.settings.result_chord_expires
        steps = list(redone(self._sig, again, ends, self._args, self._kwargs, expires=expires))
        calls = [prepared(self._app, one) for one in steps if isinstance(one, Launch)]
        outgoing = [sending.told_before(self._app, call) for call in calls]
        joins = self._joins(steps, outgoing)
        # From here on: a crash leaves runs without a result, which ``force`` sends again.
        self._app.result_backend.forget(sorted(again))
        due: Iterable[FollowUp] = counting_backend(self._app).join(joins) if joins else ()
        self._publish([*outgoing, *map(outgoing_of, due)], calls)
        return self.result

    def _check(self, again: set[str], ends: Mapping[str, Part], force: bool) -> None:
        open_ones = [one for one in self._ids() if not _over(ends.get(one))]
        if open_ones and not force:
            raise UsageError(
                f"the workflow {self.id} is not over: {len(open_ones):,} of its runs have not "
                f"ended, such as {open_ones[0]}. Wait for them, or use force where their messages "
                "are lost (what still runs may then run twice)."
            )
        revoked = [one for one in again if one in ends and ends[one].state == "REVOKED"]
        if revoked:
            raise UsageError(
                f"{len(revoked):,} runs of the workflow {self.id} were revoked or have expired, "
                f"such as {min(revoked)}, and an id that was revoked stays so: send it anew."
            )

    def _joins(self, steps: Iterable[Any], outgoing: Sequence[Outgoing]) -> list[JoinStep]:
        # What follows a join goes where its members go: somebody consumes from there.
        queue = outgoing[0].queue if outgoing else Queue(self._app.settings.task_default_queue)
        found: list[JoinStep] = []
        for step in steps:
            if isinstance(step, OpenJoin):
                found.append(step)
            elif isinstance(step, Refill):
                found.append(self._refilled(step, queue))
        return found

    def _refilled(self, step: Refill, queue: Queue) -> FillSlot:
        settings, slot, end = self._app.settings, step.slot, step.end
        part = encode_part(
            slot.task_id,
            end.state,
            end.value,
            serializer=SERIALIZERS.get(settings.result_serializer),
            compression=settings.result_compression,
        )
        then = gathering_message(
            slot.join_id, slot.body, parent_id=slot.task_id, root_id=slot.task_id
        )
        serializer = SERIALIZERS.get(settings.task_serializer)
        raw = envelope.dump_compact(task_v2.encode(then, serializer=serializer))
        follow = FollowUp(raw, queue, None)
        join_id = slot.join_for(end.state)
        return FillSlot(
            join_id, slot.task_id, slot.index, part, follow, settings.result_chord_expires
        )

    def _publish(self, outgoing: Sequence[Outgoing], calls: Sequence[Call]) -> None:
        for first in range(0, len(outgoing), BATCH):
            self._app.publishing.publish(outgoing[first : first + BATCH])
        for call, one in zip(calls, outgoing, strict=False):
            sending.tell_after(self._app, call.message, one)

    # --- ending it --------------------------------------------------------------------------------

    def abort(self, *, terminate: bool = False, signal: str | None = None) -> int:
        """See that nothing more of it runs; return how many runs that were not over are revoked.

        ``terminate`` ends those that run now, by ``signal``.
        """
        ends = self._ends()
        ids = [one for one in self._ids() if not _over(ends.get(one))]
        for first in range(0, len(ids), BATCH):
            some = ids[first : first + BATCH]
            revoke_all(self._app, some, terminate=terminate, signal=signal)
        return len(ids)

    revoke = abort

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.id}>"


def _over(end: Part | None) -> bool:
    return end is not None and end.state in READY_STATES


def _fine(end: Part | None) -> bool:
    return end is not None and end.state == "SUCCESS"
