"""Waiting for results where waiting is hard: green threads, forks, a server that goes away."""

from __future__ import annotations

import os
import signal
import threading
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.one_worker import OneWorker
from tests.redis_server import RedisServer
from tests.unit.app_results.scripted_stores import run_script
from umbel.app.app import App
from umbel.errors import BackendUnavailable, ResultTimeout
from umbel.model.outcome import ResultRecord
from umbel.testing.conformance.station import InThread, eventually

LONG = 20.0


@pytest.fixture(params=["memory", "sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    match request.param:
        case "memory":
            return f"memory://{uuid.uuid4().hex}"
        case "sqlite":
            return f"sqlite:///{tmp_path}/umbel.sqlite3"
        case _:
            return str(request.getfixturevalue("redis_url"))


_GREEN = """
{patch}
import threading, time, uuid
from tests.conformance.one_worker import OneWorker
from umbel.app.app import App

queue = uuid.uuid4().hex
app = App("green", broker={url!r}, backend={url!r}, task_default_queue=queue)

@app.task
def add(x: int, y: int) -> int:
    return x + y

values = []

def call(number):
    values.append(add.delay(number, 1).get(timeout=20))

threads = [threading.Thread(target=call, args=(number,)) for number in range(30)]
for one in threads:
    one.start()
while len(app.results._asked) < 30:  # all of them wait, and this goes on
    time.sleep(0.001)
with OneWorker(app, queue):
    for one in threads:
        one.join(20)
    assert sorted(values) == list(range(1, 31)), values
    assert sorted(add.send_many((n, 1) for n in range(30)).get(timeout=20)) == sorted(values)
app.close()
"""


@pytest.mark.parametrize(
    "patch",
    [
        "import gevent.monkey; gevent.monkey.patch_all()",
        "import eventlet; eventlet.monkey_patch()",
    ],
    ids=["gevent", "eventlet"],
)
def test_green_threads_call_and_wait(url: str, patch: str) -> None:
    run_script(_GREEN.format(patch=patch, url=url))


_FORK = """
import os, uuid
from tests.conformance.one_worker import OneWorker
from umbel.app.app import App

queue = uuid.uuid4().hex
app = App("forked", broker={url!r}, backend={url!r}, task_default_queue=queue)

@app.task
def add(x: int, y: int) -> int:
    return x + y

def work():
    with OneWorker(app, queue):
        assert [add.delay(n, 1).get(timeout=20) for n in range(5)] == [1, 2, 3, 4, 5]

work()
children = []
for _ in range(2):
    child = os.fork()
    if not child:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    children.append(child)
work()
assert [os.waitstatus_to_exitcode(os.waitpid(one, 0)[1]) for one in children] == [0, 0]
"""


def test_parent_and_children_go_on_each_on_its_own_connections(url: str) -> None:
    run_script(_FORK.format(url=url))


# --- a server that goes away ----------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[RedisServer]:
    server = RedisServer(persistent=True).start()
    yield server
    server.close()


@pytest.fixture
def app(server: RedisServer) -> Iterator[App]:
    app = App("stress", broker=server.url(), backend=server.url(1))
    yield app
    app.close()


def store(app: App, task_id: str) -> None:
    document = b'{"status": "SUCCESS", "result": 5, "traceback": null, "children": []}'
    record = ResultRecord(task_id=task_id, state="SUCCESS", document=document, final=True)
    app.result_backend.store([record])


def test_a_restart_while_results_are_waited_for(app: App, server: RedisServer) -> None:
    waiting = [InThread(partial(app.AsyncResult(name).get, timeout=LONG)) for name in "abc"]
    eventually(lambda: len(app.results._following) == 2)
    server.kill()
    eventually(lambda: app.results._failing_since is not None)
    server.start()
    for name in "cab":
        store(app, name)
    assert [one.result() for one in waiting] == [5, 5, 5]


def test_a_result_stored_while_we_could_not_hear(app: App, server: RedisServer) -> None:
    waiting = InThread(lambda: app.AsyncResult("a").get(timeout=LONG))
    eventually(lambda: app.results._watcher is not None and not app.results._fresh)
    # Everybody's connections are cut, and the result is there before anybody is back.
    store(app, "warm-up")
    server.freeze()
    server.thaw()
    store(app, "a")
    assert waiting.result() == 5


def test_a_store_that_is_down_ends_a_wait_with_a_typed_error(app: App, server: RedisServer) -> None:
    server.kill()
    app.results._patience = 0.2
    with pytest.raises(BackendUnavailable, match="The tasks go on; ask again later"):
        app.AsyncResult("a").get()
    app.results._patience = LONG
    with pytest.raises(ResultTimeout, match="The result store could not be reached lately"):
        app.AsyncResult("a").get(timeout=0.2)


def test_an_interrupt_ends_a_wait_and_breaks_nothing(app: App) -> None:
    """Ctrl-C in the middle of ``get``, which runs on the main thread."""
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals reach the main thread only")

    def interrupt() -> None:
        eventually(lambda: app.results._watcher is not None and not app.results._fresh)
        os.kill(os.getpid(), signal.SIGINT)

    # A test run in the background of a shell inherits that the signal is ignored.
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        interrupting = InThread(interrupt)
        with pytest.raises(KeyboardInterrupt):
            app.AsyncResult("a").get(timeout=LONG)
        interrupting.result()
    finally:
        signal.signal(signal.SIGINT, former)
    store(app, "a")
    assert app.AsyncResult("a").get(timeout=LONG) == 5


def test_a_worker_and_its_caller_share_an_app(app: App) -> None:
    @app.task(name="stress.add")
    def add(x: int, y: int) -> int:
        return x + y

    with OneWorker(app, "celery"):
        calls = [InThread(partial(_calls, add, number)) for number in range(6)]
        assert [one.result() for one in calls] == [
            [number + n for n in range(20)] for number in range(6)
        ]


def _calls(task: Any, number: int) -> list[int]:
    return [task.delay(number, n).get(timeout=LONG) for n in range(20)]
