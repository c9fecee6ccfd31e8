"""What follows a run whose end no executor could report: what workflows and callbacks need of it.

Pure; called by ``endings``. The decisions are those of ``workflows.advancing``. Error callbacks are
user code, which a supervisor neither has nor runs: they go as one message to an executor, together
with the end. So does all of a message that only an executor may open.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import msgspec

from umbel.errors import ContentDisallowed, ImproperlyConfigured, WireError
from umbel.model.join import FillSlot, JoinStep
from umbel.model.message import TaskMessage
from umbel.model.outcome import ResultRecord
from umbel.model.queues import FollowUp, Outgoing, Queue
from umbel.ports import Serializer
from umbel.wire import envelope
from umbel.wire.derived_ids import derived_id
from umbel.wire.envelope import Peek
from umbel.wire.gathering import gathering_message
from umbel.wire.join_part import encode_part
from umbel.wire.portable_errors import to_portable
from umbel.wire.serializers import JSON, SERIALIZERS
from umbel.wire.task_message import decode
from umbel.wire.task_v2 import encode
from umbel.worker.obituaries import HARMLESS
from umbel.workflows.advancing import Slot, never_begun, slot_of

ERRBACKS_TASK = "celery.umbel_errbacks"
ENDED_TASK = "celery.umbel_ended"


class Closed(msgspec.Struct, frozen=True):
    """A message that cannot be opened here. ``elsewhere``: an executor may be able to."""

    elsewhere: bool


def opened(raw: bytes) -> TaskMessage | Closed:
    """Return the message of a run that ended so, if a supervisor may open it.

    Only here does a supervisor open a body, for ends that are rare. A pickled one it leaves alone,
    since that may run anything: an executor tells of such a run.
    """
    try:
        return decode(envelope.load(raw), accept=HARMLESS, serializers=SERIALIZERS)
    except (ContentDisallowed, ImproperlyConfigured):  # the latter: a package is not installed
        return Closed(elsewhere=True)
    except WireError:
        return Closed(elsewhere=False)  # not ours to explain


def ended(
    message: TaskMessage,
    queue: Queue,
    state: str,
    error: BaseException,
    *,
    serializer: Serializer,
    record: Callable[[str], ResultRecord],
) -> tuple[tuple[ResultRecord, ...], tuple[JoinStep, ...]]:
    """Return records of the runs that will never begin, and slots to fill.

    ``queue`` is where the run came from: what follows its chord goes there. ``serializer`` is that
    of results.
    """
    own = slot_of(message)
    slots: list[tuple[Slot, str]] = [] if own is None else [(own, state)]
    records: list[ResultRecord] = []
    for one in never_begun(message.chain):
        records.append(record(one.task_id))
        if one.slot is not None:
            slots.append((one.slot, state))
    joins = [_filled(slot, how, error, message, queue, serializer) for slot, how in slots]
    return tuple(records), tuple(joins)


def _filled(
    slot: Slot,
    state: str,
    error: BaseException,
    message: TaskMessage,
    queue: Queue,
    serializer: Serializer,
) -> FillSlot:
    part = encode_part(slot.task_id, state, error, serializer=serializer)
    then = gathering_message(
        slot.join_id, slot.body, parent_id=message.id, root_id=message.root_id or message.id
    )
    raw = envelope.dump_compact(encode(then, serializer=JSON))
    return FillSlot(slot.join_id, slot.task_id, slot.index, part, FollowUp(raw, queue, None))


def untold(
    message: TaskMessage | Closed,
    raw: bytes,
    peek: Peek,
    queue: Queue,
    state: str,
    error: BaseException,
) -> Outgoing | None:
    """Return the message that has an executor tell, of an end, what the supervisor cannot.

    Its error callbacks; all that follows, where the message must not be opened here. None where
    there is nothing to tell.
    """
    if isinstance(message, Closed):
        if not message.elsewhere:
            return None
        told = _ended_message(raw, peek, queue, state, error)
    elif message.errbacks and state == "FAILURE":
        told = errbacks_message(message, error)
    else:
        return None
    return Outgoing(message=encode(told, serializer=JSON), queue=queue)


def _ended_message(
    raw: bytes, peek: Peek, queue: Queue, state: str, error: BaseException
) -> TaskMessage:
    return TaskMessage(
        id=derived_id(peek.id, peek.retries, "ended"),
        task=ENDED_TASK,
        args=(base64.b64encode(raw).decode(), queue.name, state, to_portable(error)),
        parent_id=peek.id,
        root_id=peek.root_id or peek.id,
        reply_to=peek.reply_to,
        ignore_result=True,
        argsrepr=repr(("...", queue.name, state, "...")),
    )


def errbacks_message(message: TaskMessage, error: BaseException) -> TaskMessage:
    """Return the message that has an executor call the error callbacks of a run."""
    request: dict[str, Any] = {
        "id": message.id,
        "task": message.task,
        "args": message.args,
        "kwargs": message.kwargs,
        "root_id": message.root_id or message.id,
        "parent_id": message.parent_id,
        "group": message.group_id,
        "retries": message.retries,
    }
    return TaskMessage(
        id=derived_id(message.id, message.retries, "errbacks"),
        task=ERRBACKS_TASK,
        args=(request, list(message.errbacks or ()), to_portable(error)),
        parent_id=message.id,
        root_id=message.root_id or message.id,
        ignore_result=True,
        argsrepr=repr((message.id, "...")),
    )
