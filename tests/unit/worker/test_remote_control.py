"""What a worker answers and does when it is told to, over the memory driver's bus."""

from __future__ import annotations

import itertools
import threading
import time

import pytest

from tests.unit.worker.remote_desk import PATIENCE, RemoteDesk
from umbel import Umbel
from umbel.errors import NotSupported, TaskRevokedError, UsageError

NODE = "w1@here"
_numbers = itertools.count()


@pytest.fixture
def app():
    url = f"memory://remote-{next(_numbers)}"
    app = Umbel("desk", broker=url, backend=url, set_as_current=False)
    app.gate, app.inside = threading.Event(), threading.Event()

    @app.task(name="wait")
    def wait(word):
        app.inside.set()
        assert app.gate.wait(PATIENCE)
        return word

    app.task(lambda x: x, name="echo", rate_limit="10/m")
    yield app
    app.gate.set()
    app.close()


@pytest.fixture
def worker(app):
    with RemoteDesk(app, NODE) as running:
        yield running
        app.gate.set()


@pytest.fixture
def ask(app, worker):
    """Ask the worker; the answer of everything comes at once, so the timeout only bounds a bug."""

    def asking(command, **arguments):
        (reply,) = app.control.broadcast(command, arguments, reply=True, timeout=PATIENCE)
        return reply[NODE]

    return asking


def test_ping_and_the_clock_that_runs_ahead(ask):
    assert ask("ping") == {"ok": "pong"}
    first, second = ask("clock")["clock"], ask("clock")["clock"]
    assert second > first


def test_inspect_speaks_for_all_or_for_one(app, worker):
    inspect = app.control.inspect(timeout=PATIENCE)
    assert inspect.ping() == {NODE: {"ok": "pong"}}
    assert app.control.inspect(NODE, timeout=PATIENCE).ping() == {"ok": "pong"}
    assert app.control.inspect("other@here", timeout=PATIENCE).ping() is None
    assert app.control.inspect(["other@here"], timeout=PATIENCE).ping() is None
    assert app.control.inspect(pattern="w*", timeout=PATIENCE).ping() == {NODE: {"ok": "pong"}}
    assert app.control.inspect(pattern="x*", timeout=PATIENCE).ping() is None
    with pytest.raises(UsageError, match="glob, pcre"):
        app.control.inspect(pattern="w*", matcher="stars").ping()


def test_registered_with_and_without_attributes(app, ask):
    assert ask("registered") == ["echo [rate_limit=10/m]", "wait"]
    assert ask("dump_tasks", taskinfoitems=["max_retries"])[0] == "echo [max_retries=3]"
    assert "celery.map" in ask("registered", builtins=True)
    assert app.control.inspect(timeout=PATIENCE).registered()[NODE][1] == "wait"


def test_conf_report_queues_and_stats(ask, app):
    assert ask("conf")["broker_url"].startswith("memory://")
    assert "task_time_limit" in ask("dump_conf", with_defaults=True)
    assert "task_time_limit" not in ask("conf")
    assert "transport:memory" in ask("report")["ok"]
    (queue,) = ask("active_queues")
    assert (queue["name"], queue["routing_key"], queue["exchange"]["type"]) == (
        "celery",
        "celery",
        "direct",
    )
    assert app.tasks["echo"].delay(3).get(timeout=PATIENCE) == 3
    stats = ask("stats")
    assert stats["total"] == {"echo": 1}
    assert stats["broker"]["transport"] == "memory"
    assert stats["pool"]["max-concurrency"] == 1
    assert stats["clock"].isdigit()


def test_hello_is_answered_and_an_election_is_held_by_nobody(ask, app):
    app.control.revoke("gone")
    app.tasks["echo"].delay(1).get(timeout=PATIENCE)  # by then it has heard of the revocation
    assert ask("hello", from_node="celery@other", revoked=None)["revoked"] == ["gone"]
    assert ask("hello", from_node=NODE) is None
    assert ask("election", id="1", topic="task", action=None) is None
    with pytest.raises(NotSupported, match="No election"):
        app.control.election("1", "task")


def test_what_rests_in_the_store_is_scheduled(ask, app):
    result = app.tasks["echo"].apply_async((7,), countdown=1000)
    (told,) = ask("scheduled")
    assert told["request"]["id"] == result.id
    assert (told["request"]["name"], told["request"]["args"]) == ("echo", "(7,)")
    assert told["eta"].startswith("20")


def test_a_revocation_by_a_command_holds_for_all(ask, app):
    app.gate.clear()
    result = app.tasks["echo"].apply_async((1,), countdown=0.2)
    assert ask("revoke", task_id=result.id) == {"ok": f"tasks {{'{result.id}'}} flagged as revoked"}
    with pytest.raises(TaskRevokedError):
        result.get(timeout=PATIENCE)
    assert result.id in ask("revoked")
    assert ask("terminate", task_id=["a", "b"], signal="SIGTERM") == {
        "ok": "terminate: tasks unknown"
    }


def test_app_control_revoke_may_be_answered(app, worker):
    (reply,) = app.control.revoke(["a"], reply=True, timeout=PATIENCE)
    assert reply == {NODE: {"ok": "tasks {'a'} flagged as revoked"}}
    assert app.control.revoke("a") is None
    assert app.control.revoke([], reply=True) == []


def test_time_limits_change_for_what_comes(ask, worker):
    assert ask("time_limit", task_name="echo", soft=1, hard=2.5) == {
        "ok": "time limits set successfully"
    }
    traits = worker.plan.tasks["echo"]
    assert (traits.soft_limit, traits.hard_limit) == (1.0, 2.5)
    assert ask("time_limit", task_name="nothing", soft=1) == {"error": "unknown task"}


def test_task_events_are_switched(ask, worker):
    assert ask("disable_events") == {"ok": "task events already disabled"}
    assert ask("enable_events") == {"ok": "task events enabled"}
    assert worker.station.observer.watching
    assert ask("enable_events") == {"ok": "task events already enabled"}
    assert ask("disable_events") == {"ok": "task events disabled"}
    assert not worker.station.observer.watching


def test_a_worker_started_for_events_keeps_them(app):
    app.conf.worker_send_task_events = True
    with RemoteDesk(app, NODE) as worker:
        control = app.control
        assert control.disable_events(reply=True, timeout=PATIENCE) == [
            {NODE: {"ok": "task events already disabled"}}
        ]
        assert worker.station.observer.watching


@pytest.mark.parametrize(
    ("command", "arguments", "error"),
    [
        ("nosuch", {}, "KeyError('nosuch')"),
        ("time_limit", {}, "TypeError"),
        ("autoscale", {"max": 3, "min": 1}, "ValueError('Autoscale not enabled')"),
        ("pool_restart", {}, "ValueError('Pool restarts not enabled')"),
        ("pool_grow", {}, "cannot change its size"),
        ("rate_limit", {"task_name": "echo", "rate_limit": "1/m"}, "not kept by this version"),
        ("rate_limit", {"task_name": "no", "rate_limit": 1}, "unknown task"),
        ("revoke_by_stamped_headers", {"headers": {"a": 1}}, "nothing was revoked"),
        ("objgraph", {}, "profiler"),
        ("revoke", {}, "KeyError"),
        ("time_limit", {"task_name": "echo", "soft": "soon"}, "could not convert"),
    ],
)
def test_what_cannot_be_done_is_the_answer(ask, command, arguments, error):
    assert error in ask(command, **arguments)["error"]


def test_arguments_that_nobody_knows_are_ignored(ask):
    assert ask("ping", colour="blue") == {"ok": "pong"}


def test_an_answer_that_cannot_be_written_is_told(ask, worker, monkeypatch):
    monkeypatch.setattr(
        type(worker.station.remote), "_encoded", _failing(type(worker.station.remote)._encoded)
    )
    assert "no form" in ask("ping")["error"]


def _failing(encoded):
    from umbel.errors import EncodeError

    def failing(self, command, reply):
        if "ok" in reply:
            raise EncodeError("no form for this")
        return encoded(self, command, reply)

    return failing


def test_shutdown_ends_the_worker_without_a_word(app):
    with RemoteDesk(app, NODE) as worker:
        assert app.control.shutdown() is None
        worker.thread.join(PATIENCE)
        assert not worker.thread.is_alive()


def test_without_remote_control_nobody_answers(app):
    app.conf.worker_enable_remote_control = False
    with RemoteDesk(app, NODE):
        began = time.monotonic()
        assert app.control.ping(timeout=PATIENCE) == []
        assert time.monotonic() - began < PATIENCE


def test_several_workers_are_waited_for_and_not_the_clock(app):
    with RemoteDesk(app, "w1@here"), RemoteDesk(app, "w2@here"):
        began = time.monotonic()
        replies = app.control.ping(timeout=PATIENCE)
        assert sorted(node for each in replies for node in each) == ["w1@here", "w2@here"]
        assert app.control.ping(destination=["w2@here"], timeout=PATIENCE) == [
            {"w2@here": {"ok": "pong"}}
        ]
        assert time.monotonic() - began < PATIENCE
