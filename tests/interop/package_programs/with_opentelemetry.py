"""OpenTelemetry's Celery instrumentation: one trace from the call to the run, errors in it."""

from celery import Celery
from celery.contrib.testing.worker import start_worker
from opentelemetry import trace
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)

# It looks for the distribution celery >= 4.0, < 6.0 before it does anything.
CeleryInstrumentor().instrument()

app = Celery("tasks", broker="memory://", backend="memory://")


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task
def fail() -> None:
    raise ValueError("no")


with start_worker(app, perform_ping_check=False):
    with trace.get_tracer("test").start_as_current_span("caller"):
        good, bad = add.delay(42, 50), fail.delay()
    assert good.get(timeout=20) == 92
    bad.get(timeout=20, propagate=False)

spans = {span.name: span for span in exporter.get_finished_spans()}
assert set(spans) == {
    *("caller", "apply_async/tasks.add", "run/tasks.add"),
    *("apply_async/tasks.fail", "run/tasks.fail"),
}
assert len({span.context.trace_id for span in spans.values()}) == 1
sent, ran = spans["apply_async/tasks.add"], spans["run/tasks.add"]
assert (sent.kind, ran.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)
assert sent.parent.span_id == spans["caller"].context.span_id
assert ran.parent.span_id == sent.context.span_id
assert ran.attributes["messaging.message.id"] == good.id
assert ran.attributes["celery.state"] == "SUCCESS"
assert ran.attributes["messaging.destination"] == "celery"
failed = spans["run/tasks.fail"]
assert failed.status.status_code is StatusCode.ERROR
assert failed.status.description == "no"
assert [event.name for event in failed.events] == ["exception"]
print("ok")
