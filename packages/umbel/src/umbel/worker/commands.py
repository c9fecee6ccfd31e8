"""From a command to its answer: who answers it, on which thread, and what a failure becomes.

``worker.remote`` hands commands in; the answer goes back to it through the callback. Nothing that a
command contains can hurt the worker: what is wrong with one is its answer.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from umbel.control.command_specs import BY_NAME
from umbel.wire.pidbox import Command
from umbel.worker.answering import Answering
from umbel.worker.steering import Steering

logger = logging.getLogger("umbel.worker")

Answer: TypeAlias = Callable[[Any], None]
Handler: TypeAlias = Callable[..., Any]

_HERE = frozenset(
    {
        "clock", "conf", "disable_events", "election", "enable_events", "heartbeat", "hello",
        "memdump", "memsample", "objgraph", "ping", "rate_limit", "registered", "report", "revoked",
        "revoke_by_stamped_headers", "scheduled",
    }
)  # fmt: skip
"""Commands answered on the thread that owns the bus."""


class Commands:
    """Answers the commands of one worker. ``handle``: the bus's thread only."""

    def __init__(
        self,
        answering: Answering,
        steering: Steering,
        call_soon: Callable[[Callable[[], None]], None],
    ) -> None:
        """``call_soon``: have something done on the supervisor's main thread."""
        self._answering = answering
        self._steering = steering
        self._call_soon = call_soon

    def handle(self, command: Command, answer: Answer) -> None:
        """See that the command is carried out and ``answer`` is called with the reply, once.

        It may be called on the main thread. ``shutdown`` has no answer.
        """
        logger.debug("Remote control: %s %r", command.method, command.arguments)
        spec = BY_NAME.get(command.method)
        name = spec.name if spec is not None else ""
        arguments = dict(command.arguments)
        if not name:
            answer({"error": repr(KeyError(command.method))})
        elif name in ("revoke", "terminate"):
            self._revoke(name, arguments, answer)
        elif name in _HERE:
            answer(_outcome(getattr(self._answering, name), arguments))
        else:
            handler = getattr(self._steering, name)
            self._call_soon(lambda: self._steered(name, handler, arguments, answer))

    def _steered(
        self, name: str, handler: Handler, arguments: Mapping[str, Any], answer: Answer
    ) -> None:
        reply = _outcome(handler, arguments)
        if name == "shutdown" and reply is None:
            return  # as in Celery: whoever is asked to end does not answer
        if name == "stats" and isinstance(reply, dict):
            reply["clock"] = str(self._answering.clock()["clock"])
        answer(reply)

    def _revoke(self, name: str, arguments: dict[str, Any], answer: Answer) -> None:
        terminate = name == "terminate" or bool(arguments.get("terminate"))
        try:
            ids = self._answering.store_revocations(
                arguments["task_id"],
                terminate=terminate,
                signal=str(arguments.get("signal") or "SIGTERM"),
            )
        except Exception as error:  # noqa: BLE001 - told to who asked
            answer(_failure(error))
            return
        logger.info("Tasks flagged as revoked: %s", ", ".join(ids))
        if not terminate:
            answer({"ok": f"tasks {set(ids) or '{}'} flagged as revoked"})
            return

        def tell() -> None:
            known = self._steering.known(ids)
            answer({"ok": f"terminate: {', '.join(known) or 'tasks unknown'}"})

        self._call_soon(tell)


def _outcome(handler: Handler, arguments: Mapping[str, Any]) -> Any:
    """Call a handler with those of the arguments that it takes; what it raises is the answer."""
    try:
        parameters = inspect.signature(handler).parameters
        taken = {name: value for name, value in arguments.items() if name in parameters}
        return handler(**taken)
    except Exception as error:  # noqa: BLE001 - told to who asked
        return _failure(error)


def _failure(error: Exception) -> Mapping[str, str]:
    # Celery's form: the class's name, which for ours people need not know, and the text.
    kind = type(error)
    name = kind.__name__ if kind.__module__ == "builtins" else "ValueError"
    return {"error": f"{name}({str(error)!r})"}
