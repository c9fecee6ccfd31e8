"""sentry-sdk's Celery integration: traces from the call to the run, errors with their task."""

from typing import Any

import sentry_sdk
from celery import Celery
from celery.contrib.testing.worker import start_worker
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.transport import Transport

told: list[dict[str, Any]] = []


class Keep(Transport):
    def capture_envelope(self, envelope: Any) -> None:
        told.extend(item.payload.json for item in envelope.items if item.payload.json)


sentry_sdk.init(
    dsn="http://key@localhost/1",
    integrations=[CeleryIntegration()],
    traces_sample_rate=1.0,
    transport=Keep,
)
app = Celery("shop", broker="memory://", backend="memory://")


@app.task
def div(a: int, b: int) -> float:
    return a / b


with start_worker(app, perform_ping_check=False):
    with sentry_sdk.start_transaction(name="request", op="http.server"):
        good, bad = div.delay(4, 2), div.delay(1, 0)
    assert good.get(timeout=20) == 2
    assert isinstance(bad.get(timeout=20, propagate=False), ZeroDivisionError)

caller = next(each for each in told if each.get("transaction") == "request")
trace = caller["contexts"]["trace"]["trace_id"]
assert [span["op"] for span in caller["spans"]] == ["queue.submit.celery"] * 2

errors = [each for each in told if "exception" in each or each.get("level") == "error"]
(error,) = errors
assert error["exception"]["values"][0]["type"] == "ZeroDivisionError"
assert error["transaction"] == "shop.div"
assert error["tags"]["celery_task_id"] == bad.id
assert error["extra"]["celery-job"]["task_name"] == "shop.div"

ran = [each for each in told if each.get("type") == "transaction"]
runs = [each for each in ran if each["transaction"] == "shop.div"]
assert {run["contexts"]["trace"]["trace_id"] for run in runs} == {trace}
assert {run["contexts"]["trace"]["op"] for run in runs} == {"queue.task.celery"}
(span,) = runs[0]["spans"]
assert span["op"] == "queue.process"
assert span["data"]["messaging.destination.name"] == "celery"
assert span["data"]["messaging.message.retry.count"] == 0
assert span["data"]["messaging.message.receive.latency"] > 0
print("ok")
