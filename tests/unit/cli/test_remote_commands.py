"""``umbel inspect``, ``umbel control`` and the lines of ``umbel events``."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from tests.unit.worker.remote_desk import RemoteDesk
from umbel import Umbel
from umbel.cli import main as command_line
from umbel.cli.events_command import drawn, line_of
from umbel.monitoring.cluster_state import State


@pytest.fixture
def app():
    app = Umbel("desk", broker="memory://commands", set_as_current=False)
    app.task(lambda x: x, name="echo")
    yield app
    app.close()


@pytest.fixture
def run(app, capsys):
    def running(*words):
        code = command_line.main(list(words), app=app)
        out, err = capsys.readouterr()
        return code, out, err

    return running


@pytest.fixture
def worker(app):
    with RemoteDesk(app, "w1@here") as running:
        yield running


def test_nobody_there_is_status_69(run):
    code, _, err = run("inspect", "ping")
    assert code == 69
    assert "No worker answered" in err
    assert run("inspect", "ping", "--json")[:2] == (69, "{}\n")


def test_answers_are_printed_as_celery_prints_them(run, worker):
    assert run("inspect", "ping")[1] == "->  w1@here: OK\n    pong\n\n1 node online.\n"
    assert "    * echo\n" in run("inspect", "registered")[1]
    assert "    - empty -\n" in run("inspect", "active")[1]
    assert '"pid": ' in run("inspect", "stats")[1]
    assert run("-q", "inspect", "ping")[1] == "->  w1@here: OK\n"


def test_json(run, worker):
    code, out, _ = run("inspect", "ping", "--json")
    assert (code, json.loads(out)) == (0, {"w1@here": {"ok": "pong"}})
    code, out, _ = run("control", "enable_events", "--json")
    assert (code, json.loads(out)) == (0, [{"w1@here": {"ok": "task events enabled"}}])


def test_destination_and_pattern(run, worker):
    assert run("inspect", "ping", "-d", "w1@here,w2@here")[0] == 0
    assert run("inspect", "ping", "-d", "w2@here")[0] == 69
    assert run("inspect", "ping", "--pattern", "w[0-9]@", "--matcher", "pcre")[0] == 0
    assert run("inspect", "ping", "--pattern", "x*")[0] == 69


def test_a_worker_that_refuses_is_status_1(run, worker):
    code, out, _ = run("control", "time_limit", "nothing", "1")
    assert code == 1
    assert "->  w1@here: ERROR\n    unknown task\n" in out
    assert run("control", "time_limit", "echo", "1", "2")[0] == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("inspect pong", "Did you mean ping?"),
        ("inspect pool_grow", "is a command of `umbel control`"),
        ("control active", "is a command of `umbel inspect`"),
        ("control time_limit echo", "needs more arguments"),
        ("control pool_grow many", "n cannot be 'many'"),
    ],
)
def test_wrong_words_are_status_2(run, words, told):
    code, _, err = run(*words.split())
    assert code == 2
    assert told in err


def test_the_commands_are_listed(run):
    assert "query_task" in run("inspect", "--list")[1]
    assert "time_limit" in run("control", "--list")[1]
    assert "time_limit" not in run("inspect", "--list")[1]
    assert "hello" not in run("inspect", "--list")[1]


def event(kind, **fields):
    return {"type": kind, "hostname": "w1@here", "timestamp": 0.0, "pid": 1, "clock": 2, **fields}


def test_a_line_for_an_event():
    names = {}
    received = event("task-received", uuid="id-1", name="echo", args="(1,)", eta=None)
    assert line_of(received, names) == (
        "1970-01-01T00:00:00+00:00 w1@here task-received echo[id-1] args='(1,)'"
    )
    assert "task-started echo[id-1]" in line_of(event("task-started", uuid="id-1"), names)
    assert "worker-online freq=2.0" in line_of(event("worker-online", freq=2.0), names)
    assert "?[id-2]" in line_of(event("task-started", uuid="id-2"), names)


def test_the_screen_shows_workers_and_tasks():
    state = State()
    state.event(event("worker-heartbeat", active=1, processed=7, loadavg=[0.5, 0, 0]))
    state.event(event("task-received", uuid="id-1", name="echo"))
    state.event(event("task-succeeded", uuid="id-1", result="9", runtime=0.5))
    state.event(event("task-failed", uuid="id-2", exception="ValueError('[bold]')"))
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(drawn(state))
    text = console.export_text()
    for word in ("w1@here", "ONLINE", "echo", "SUCCESS", "0.500 s", "1 failure, 1 success"):
        assert word in text
    assert "ValueError('[bold]')" in text


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("-c no.such.Camera", "there is no class 'no.such.Camera'"),
        ("-c json.JSONDecoder", "derive a class from"),
        ("-c umbel.monitoring.snapshot.Polaroid -r fast", "is no rate"),
    ],
)
def test_a_wrong_camera_is_told(run, words, told):
    code, _, err = run("events", *words.split())
    assert code == 2
    assert told in err
