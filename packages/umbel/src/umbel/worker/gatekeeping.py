"""What a claim of a limited task asks the store for before it may run, and gives back after it.

Called by ``intake``, on its thread. Limits are the task's own (``Task.limits``); the key of each
comes out of the arguments, which are read here without running anything.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from umbel.errors import ImproperlyConfigured, OperationalError, WireError
from umbel.model.delivery import Receipt, Requeue, Settlement
from umbel.model.shared_limits import Token, Wish
from umbel.ports import Broker, Gate
from umbel.wire import envelope
from umbel.wire.serializers import SERIALIZERS
from umbel.wire.task_message import decode
from umbel.worker.plan import KeyPath, TaskTraits, WorkerPlan
from umbel.worker.reception import Admitted
from umbel.worker.tenure import Tenure

logger = logging.getLogger("umbel.worker")

_HARMLESS = SERIALIZERS.content_types(["json", "yaml", "msgpack"])
LONGEST_KEY = 100
"""Characters of a key; of a longer one the digest stands for it."""


class Gatekeeper:
    """Of one intake."""

    def __init__(self, plan: WorkerPlan, broker: Broker, tenure: Tenure) -> None:
        """Raises ImproperlyConfigured where tasks have limits and the broker keeps none."""
        limited = sorted(name for name, traits in plan.tasks.items() if traits.limits)
        if limited and not broker.capabilities.limits:
            raise ImproperlyConfigured(
                f"{', '.join(limited[:3])}: limits shared by all workers need a broker that counts,"
                " Redis, PostgreSQL or SQLite; this one does not. Take limits= away, or use"
                " rate_limit=, which holds for each worker"
            )
        self._tenure = tenure
        self._limited = bool(limited)
        self._gate: Gate | None = None
        self._gate_of: object = None
        self._tokens: dict[Receipt, tuple[Gate, Token]] = {}
        self._owed: dict[Receipt, tuple[Gate, Token]] = {}

    def _present(self) -> Gate:
        """Return the gate of the consumer there is now."""
        consumer = self._tenure.consumer
        assert consumer is not None
        if self._gate is None or self._gate_of is not consumer:
            self._gate, self._gate_of = consumer.gate(), consumer
        return self._gate

    def check(
        self, claims: Sequence[Admitted], now: datetime
    ) -> tuple[list[Admitted], list[Settlement]]:
        """Return those that may run, and what becomes of those that have a turn later.

        Raises OperationalError: then none of them is held any more, and they go back to their
        queue with the next renewal.
        """
        wishes = [_wish(each) for each in claims]
        gate = self._present()
        try:
            answers = gate.admit(wishes)
        except OperationalError:
            self._tenure.held.difference_update(wish.receipt for wish in wishes)
            raise
        let_in: list[Admitted] = []
        later: list[Settlement] = []
        for claim, wish, answer in zip(claims, wishes, answers, strict=True):
            if answer == 0:
                let_in.append(claim)
                if wish.hold is not None:
                    self._tokens[wish.receipt] = gate, Token(wish.hold, wish.task_id, wish.most)
                continue
            logger.debug("Task %s[%s] waits for a limit", claim.peek.task, claim.peek.id)
            if answer is None:
                self._tenure.held.discard(wish.receipt)
                continue
            due = now + timedelta(seconds=answer)
            verdict = Requeue(due_at=due, front=False, why=f"the limit {wish.pace}")
            later.append(Settlement(wish.receipt, verdict))
        return let_in, later

    def release(self, receipts: Iterable[Receipt]) -> None:
        """Give back what these held. Raises OperationalError: what is left is given back later."""
        for receipt in receipts:
            if receipt in self._tokens:
                self._owed[receipt] = self._tokens.pop(receipt)
        by_gate: dict[Gate, list[Token]] = {}
        for gate, token in self._owed.values():
            by_gate.setdefault(gate, []).append(token)
        for gate, tokens in by_gate.items():
            gate.release(tokens)
        self._owed.clear()

    def sweep(self) -> None:
        """See that nothing waits for the dead. Raises OperationalError."""
        if not self._limited:
            return
        self.release(())
        self._present().sweep([token for _, token in self._tokens.values()])

    def close(self) -> None:
        """Give everything back; where the broker is away, the end of the lease does it."""
        try:
            self.release(tuple(self._tokens))
        except OperationalError as error:
            logger.debug("Places under limits are free when the lease ends: %s", error)


def _wish(claim: Admitted) -> Wish:
    arguments = _arguments(claim.delivery.raw) if _keyed(claim.run.traits) else None
    hold, most, pace, interval = None, 0, None, 0.0
    for limit in claim.run.traits.limits:
        name = limit.name
        if limit.key is not None:
            name = f"{name}:{key_of(limit.key, *(arguments or ((), {})))}"
        if limit.most is not None:
            hold, most = name, limit.most
        else:
            pace, interval = name, limit.interval
    return Wish(
        receipt=claim.delivery.receipt,
        task_id=claim.peek.id,
        queue=claim.delivery.queue,
        hold=hold,
        most=most,
        pace=pace,
        interval=interval,
    )


def _keyed(traits: TaskTraits) -> bool:
    return any(limit.key is not None for limit in traits.limits)


def _arguments(raw: bytes) -> tuple[Sequence[Any], Mapping[str, Any]] | None:
    """Return the arguments, where they can be read without running anything."""
    try:
        message = decode(envelope.load(raw), accept=_HARMLESS, serializers=SERIALIZERS)
    except (WireError, ImproperlyConfigured):
        return None
    return message.args, message.kwargs


def key_of(path: KeyPath, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """Return the key in these arguments as text; empty where there is none."""
    value: Any = path.default
    if path.parameter in kwargs:
        value = kwargs[path.parameter]
    elif path.position is not None and path.position < len(args):
        value = args[path.position]
    for part in path.within:
        value = value.get(part) if isinstance(value, Mapping) else getattr(value, part, None)
    text = "" if value is None else str(value)
    if len(text) <= LONGEST_KEY and "\n" not in text and "\0" not in text:
        return text
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).hexdigest()
