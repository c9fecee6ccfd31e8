"""OpenTelemetry traces of an app's tasks: sending, waiting, running, retries and callbacks.

``instrument(app)``, called once by the user's program where the app is made. The context travels in
the message headers ``traceparent`` and ``tracestate`` (W3C), which Celery's peers carry along. It
hangs on the signals, so what executors send (retries, callbacks, next steps of a chain) is in the
trace of what it follows. Needs ``umbel[otel]``.

Every span of a run belongs to the thread or coroutine that runs it. A run whose process is killed
leaves no span: the next delivery's has the attribute ``messaging.umbel.redelivered``.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from umbel.app import signals
from umbel.app.context import Context
from umbel.errors import ImproperlyConfigured

try:
    from opentelemetry import context as otel_context
    from opentelemetry import propagate, trace
    from opentelemetry.trace import SpanKind, Status, StatusCode
except ImportError as missing:
    raise ImproperlyConfigured("traces need OpenTelemetry: pip install 'umbel[otel]'") from missing

if TYPE_CHECKING:
    from umbel.app.app import App

SENT_HEADER = "umbel-sent"
"""When a message was sent, in nanoseconds since 1970: where the span of its waiting begins."""
_REMEMBERED = 1000
"""Runs whose context is kept after their end, for the callbacks that are sent then."""


class Tracing:
    """The traces of one app in this process. Any thread."""

    def __init__(self, app: App, provider: Any = None) -> None:
        self._app = app
        self._tracer = trace.get_tracer("umbel", tracer_provider=provider)
        self._provider = provider
        self._running: dict[str, tuple[Any, Any]] = {}
        """Task id -> the span of its run, and what detaches it."""
        self._ended: OrderedDict[str, Any] = OrderedDict()
        """Task id -> the context of a run that has ended."""

    def connect(self) -> None:
        """Begin to listen."""
        mine = f"umbel-tracing-{id(self._app)}"
        for signal, receiver in (
            (signals.before_task_publish, self._sending),
            (signals.task_prerun, self._begins),
            (signals.task_failure, self._failed),
            (signals.task_retry, self._retried),
            (signals.task_postrun, self._ends),
            (signals.worker_process_shutdown, self._flush),
        ):
            signal.connect(receiver, weak=False, dispatch_uid=mine)

    # --- sending ----------------------------------------------------------------------------------

    def _sending(self, sender: Any = None, headers: Any = None, **told: Any) -> None:
        """Make the span of a message, and write its context into the headers.

        It is told before the broker has it, so the span is a moment and not the time it took.
        """
        if headers is None:
            return
        parent = otel_context.get_current()
        if not trace.get_current_span().get_span_context().is_valid:
            parent = self._ended.get(str(headers.get("parent_id")), parent)
        queue = str(told.get("routing_key") or "")
        span = self._tracer.start_span(
            f"send {sender}",
            context=parent,
            kind=SpanKind.PRODUCER,
            attributes=_attributes(sender, headers.get("id"), queue, headers.get("retries")),
        )
        propagate.inject(headers, context=trace.set_span_in_context(span, parent))
        headers[SENT_HEADER] = time.time_ns()
        span.end()

    # --- running ----------------------------------------------------------------------------------

    def _begins(self, task_id: Any = None, task: Any = None, **_: Any) -> None:
        if task is None or task.app is not self._app:
            return
        request = task.request
        parent = propagate.extract(_carrier(request))
        attributes = _attributes(task.name, task_id, request.queue, request.retries)
        if request.get("delivery_info") and request.delivery_info.get("redelivered"):
            attributes["messaging.umbel.redelivered"] = True
        sent = request.get(SENT_HEADER)
        if isinstance(sent, int) and not request.is_eager:
            waited = self._tracer.start_span(
                f"wait {request.queue}", context=parent, start_time=sent, attributes=attributes
            )
            waited.end()
        span = self._tracer.start_span(
            f"run {task.name}", context=parent, kind=SpanKind.CONSUMER, attributes=attributes
        )
        around = trace.set_span_in_context(span, parent)
        self._running[str(task_id)] = span, otel_context.attach(around)
        self._remember(str(task_id), around)

    def _remember(self, task_id: str, context: Any) -> None:
        self._ended[task_id] = context
        self._ended.move_to_end(task_id)
        while len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)

    def _failed(self, task_id: Any = None, exception: Any = None, **_: Any) -> None:
        found = self._running.get(str(task_id))
        if found is not None and isinstance(exception, BaseException):
            found[0].record_exception(exception)
            found[0].set_status(Status(StatusCode.ERROR, str(exception)))

    def _retried(self, request: Any = None, reason: Any = None, **_: Any) -> None:
        found = self._running.get(str(getattr(request, "id", None)))
        if found is not None:
            found[0].add_event("retry", {"reason": str(reason)})

    def _ends(self, task_id: Any = None, state: Any = None, **_: Any) -> None:
        found = self._running.pop(str(task_id), None)
        if found is None:
            return
        span, token = found
        span.set_attribute("messaging.umbel.state", str(state))
        span.end()
        otel_context.detach(token)

    def _flush(self, **_: Any) -> None:
        provider = self._provider or trace.get_tracer_provider()
        flush = getattr(provider, "force_flush", None)
        if flush is not None:
            flush()


def instrument(app: App, provider: Any = None) -> Tracing:
    """Trace what this app sends and runs, in this process and in the executors forked from it.

    ``provider`` is a TracerProvider, by default the global one, asked for at each span. A provider
    with threads (``BatchSpanProcessor``) is to be made in a receiver of ``worker_process_init``:
    threads do not survive the forking of executors. Raises ImproperlyConfigured without
    OpenTelemetry.
    """
    made = Tracing(app, provider)
    made.connect()
    return made


def _carrier(request: Context) -> dict[str, str]:
    found = {name: request.get(name) for name in ("traceparent", "tracestate", "baggage")}
    return {name: value for name, value in found.items() if isinstance(value, str)}


def _attributes(task: Any, task_id: Any, queue: str, retries: Any) -> dict[str, Any]:
    return {
        "messaging.system": "umbel",
        "messaging.destination.name": queue,
        "messaging.message.id": str(task_id),
        "messaging.umbel.task": str(task),
        "messaging.umbel.retries": int(retries or 0),
    }
