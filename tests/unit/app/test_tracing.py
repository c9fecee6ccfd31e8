"""Traces: what is sent, waits, runs, fails, tries again and calls back is one trace."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from umbel.app import signals
from umbel.app.app import App
from umbel.app.context import Context
from umbel.app.running import run_task
from umbel.app.tracing import instrument

from .mailbox import Sent, take_one

PROVIDER = TracerProvider()
EXPORTER = InMemorySpanExporter()
PROVIDER.add_span_processor(SimpleSpanProcessor(EXPORTER))
LISTENED = (
    signals.before_task_publish,
    signals.task_prerun,
    signals.task_failure,
    signals.task_retry,
    signals.task_postrun,
    signals.worker_process_shutdown,
)


@pytest.fixture
def traced(app: App) -> Iterator[App]:
    EXPORTER.clear()
    tracing = instrument(app, PROVIDER)
    yield app
    for signal in LISTENED:
        signal.disconnect(dispatch_uid=f"umbel-tracing-{id(tracing._app)}")


def spans() -> dict[str, Any]:
    return {span.name: span for span in EXPORTER.get_finished_spans()}


def run(app: App, sent: Sent) -> Any:
    task = app.tasks[sent.message.task]
    request = Context.from_message(sent.message, hostname="w@h", queue="celery")
    return run_task(task, sent.message, request)


def test_sending_waiting_and_running_are_one_trace(traced: App) -> None:
    @traced.task(name="proj.add")
    def add(x: int) -> int:
        return x

    tracer = PROVIDER.get_tracer("test")
    with tracer.start_as_current_span("web request") as web:
        add.delay(1)
    sent = take_one(traced)
    assert sent.headers["traceparent"].startswith("00-")
    run(traced, sent)
    found = spans()
    send, wait, ran = found["send proj.add"], found["wait celery"], found["run proj.add"]
    trace_id = web.get_span_context().trace_id
    assert {one.context.trace_id for one in (send, wait, ran)} == {trace_id}
    assert send.parent.span_id == web.get_span_context().span_id
    assert wait.parent.span_id == ran.parent.span_id == send.context.span_id
    assert wait.start_time <= wait.end_time <= ran.end_time
    assert ran.attributes["messaging.umbel.state"] == "SUCCESS"
    assert ran.attributes["messaging.message.id"] == sent.message.id


def test_a_failure_is_recorded_and_what_the_task_sends_is_its_child(traced: App) -> None:
    @traced.task(name="proj.child")
    def child() -> None:
        pass

    @traced.task(name="proj.fails")
    def fails() -> None:
        child.delay()
        raise ValueError("no")

    fails.delay()
    run(traced, take_one(traced))
    found = spans()
    ran = found["run proj.fails"]
    assert not ran.status.is_ok
    assert ran.events[0].attributes["exception.type"] == "ValueError"
    assert found["send proj.child"].parent.span_id == ran.context.span_id


def test_a_retry_is_a_child_of_the_try_before(traced: App) -> None:
    @traced.task(name="proj.again", bind=True, max_retries=3)
    def again(self: Any) -> None:
        raise self.retry(countdown=5)

    again.delay()
    outcome = run(traced, take_one(traced))
    first = next(one for one in EXPORTER.get_finished_spans() if one.name == "run proj.again")
    resent = [one for one in EXPORTER.get_finished_spans() if one.name == "send proj.again"][-1]
    assert resent.parent.span_id == first.context.span_id
    assert resent.attributes["messaging.umbel.retries"] == 1
    assert first.events[0].name == "retry"
    ids = f"{first.context.trace_id:032x}", f"{resent.context.span_id:016x}"
    assert outcome.message.message.headers["traceparent"].startswith("00-{}-{}-".format(*ids))


def test_a_callback_sent_after_the_run_is_its_child(traced: App) -> None:
    @traced.task(name="proj.first")
    def first() -> None:
        pass

    first.delay()
    sent = take_one(traced)
    run(traced, sent)
    # As an executor does, when the run is over.
    traced.send_task("proj.callback", parent_id=sent.message.id, root_id=sent.message.id)
    found = spans()
    assert found["send proj.callback"].parent.span_id == found["run proj.first"].context.span_id


def test_tasks_of_another_app_are_not_traced(traced: App) -> None:
    from .conftest import new_app

    with new_app() as other:

        @other.task(name="other.task")
        def task() -> None:
            pass

        task.delay()
        run(other, take_one(other))
    assert "run other.task" not in spans()
