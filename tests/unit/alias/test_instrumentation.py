"""What instrumentation written for Celery replaces: tracers, sending."""

from __future__ import annotations

import functools
import importlib
import json

import pytest

from umbel.app import tracers
from umbel.errors import UsageError
from umbel.testing import Sandbox


@pytest.fixture
def trace():
    module = importlib.import_module("celery.app.trace")
    plain = module.build_tracer
    yield module
    module.build_tracer = plain


def wrapping(plain, told):
    """Return what an APM vendor puts in the place of build_tracer."""

    def build_tracer(name, task, *args, **kwargs):
        told.append(("built", name))
        tracer = plain(name, task, *args, **kwargs)

        @functools.wraps(tracer)
        def traced(*given, **named):
            uuid, args, kwargs, request = given
            told.append(("begins", list(args), kwargs, request.get("headers"), request.id == uuid))
            try:
                return tracer(*given, **named)
            finally:
                told.append("ends")

        return traced

    return build_tracer


def test_a_replaced_build_tracer_is_around_every_run(celery_app, trace):
    told = []
    trace.build_tracer = wrapping(trace.build_tracer, told)

    @celery_app.task(name="add")
    def add(a, b=1):
        told.append("runs")
        return a + b

    @celery_app.task(name="fail")
    async def fail():
        raise ValueError("no")

    with Sandbox(celery_app) as box:
        results = [
            add.apply_async((1,), {"b": 2}, headers={"trace": "x"}),
            add.delay(3),
            fail.delay(),
        ]
        box.drain()
        assert [each.state for each in results] == ["SUCCESS", "SUCCESS", "FAILURE"]
        assert results[0].get(timeout=1) == 3
    assert told == [
        ("built", "add"),
        ("begins", [1], {"b": 2}, {"trace": "x"}, True),
        *("runs", "ends"),
        ("begins", [3], {}, None, True),
        *("runs", "ends"),
        ("built", "fail"),
        ("begins", [], {}, None, True),
        "ends",
    ]


def test_eager_runs_go_through_tracers_too(celery_app, trace):
    told = []
    trace.build_tracer = wrapping(trace.build_tracer, told)

    @celery_app.task
    def one():
        return 1

    assert one.apply().get() == 1
    assert told[-1] == "ends"


def test_putting_the_plain_one_back_ends_it(celery_app, trace):
    plain = trace.build_tracer
    told = []
    trace.build_tracer = wrapping(plain, told)
    assert tracers.wraps_runs(celery_app)
    trace.build_tracer = plain
    assert not tracers.wraps_runs(celery_app)
    celery_app.task(lambda: 1, name="one").apply()
    assert told == []


def test_a_tracer_that_does_not_run_the_task_fails_it(celery_app, trace):
    trace.build_tracer = lambda name, task, **_: lambda *given: None
    result = celery_app.task(lambda: 1, name="one").apply()
    assert isinstance(result.result, UsageError)
    assert "was not run: what replaced build_tracer of celery.app.trace" in str(result.result)


def test_a_tracer_outside_a_run_says_what_to_do(celery_app, trace):
    task = celery_app.task(lambda: 1, name="one")
    with pytest.raises(UsageError, match=r"was called outside a run: call task\.apply"):
        trace.build_tracer("one", task)("id", (), {})
    assert trace.trace_task(task, "id", (), {}).retval == 1


def test_task_has_custom_sees_what_a_class_overrides(celery_app, trace):
    class Own(celery_app.Task):
        def __call__(self, *args, **kwargs):
            return super().__call__(*args, **kwargs)

    plain = celery_app.task(lambda: 1, name="plain")
    own = celery_app.task(lambda: 1, name="own", base=Own)
    assert (trace.task_has_custom(plain, "__call__"), trace.task_has_custom(own, "__call__")) == (
        *(False, True),
    )


def test_wrapping_apply_async_and_send_task_sees_every_call(celery_app, monkeypatch):
    celery = importlib.import_module("celery")
    base = importlib.import_module("celery.app.task")
    seen = []

    def around(plain):
        @functools.wraps(plain)
        def wrapped(*args, **kwargs):
            kwargs["headers"] = {**(kwargs.get("headers") or {}), "seen": len(seen)}
            seen.append(plain.__name__)
            return plain(*args, **kwargs)

        return wrapped

    monkeypatch.setattr(base.Task, "apply_async", around(base.Task.apply_async))
    monkeypatch.setattr(celery.Celery, "send_task", around(celery.Celery.send_task))

    @celery_app.task(name="one")
    def one():
        return 1

    with Sandbox(celery_app) as box:
        one.delay()
        one.s().delay()
        one.si().apply_async()
        celery_app.send_task("one")
        sent = [dict(each.headers) for each in box.sent]
    assert seen == ["apply_async", "apply_async", "apply_async", "send_task"]
    assert sent == [{"seen": 0}, {"seen": 1}, {"seen": 2}, {"seen": 3}]
    assert json.dumps(sent)
