"""``app.events``: a worker's life, heard through the memory driver's bus."""

from __future__ import annotations

import itertools
import threading

import pytest

from tests.unit.worker.remote_desk import PATIENCE, RemoteDesk
from umbel import Umbel
from umbel.errors import NotSupported

_numbers = itertools.count()


@pytest.fixture
def app():
    url = f"memory://events-{next(_numbers)}"
    app = Umbel("desk", broker=url, backend=url, set_as_current=False)
    app.task(lambda x: x, name="echo")

    @app.task(name="halfway", bind=True)
    def halfway(self):
        self.send_event("task-halfway", done=50)

    @app.task(name="fail")
    def fail():
        raise ValueError("no")

    yield app
    app.close()


class Ear:
    """Captures in a thread, into a list and a state."""

    def __init__(self, app, until):
        self.events, self.state, self.until = [], app.events.State(), until
        self.receiver = app.events.Receiver(handlers={"*": self.hear})
        self.receiver._line.listen(1)
        self.thread = threading.Thread(target=self.receiver.capture, kwargs={"timeout": PATIENCE})

    def hear(self, event):
        self.events.append(event)
        self.state.event(event)
        if self.until(self.events):
            raise StopIteration

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.thread.join(PATIENCE)
        self.receiver.close()
        assert not self.thread.is_alive()


def types(events, uuid=None):
    return [each["type"] for each in events if uuid is None or each.get("uuid") == uuid]


def test_the_life_of_tasks_and_workers_is_heard(app):
    with Ear(app, lambda events: types(events).count("worker-offline") == 1) as ear:
        app.conf.worker_send_task_events = True
        with RemoteDesk(app, "w1@here"):
            done = app.tasks["echo"].delay(9)
            failed = app.tasks["fail"].delay()
            assert done.get(timeout=PATIENCE) == 9
            with pytest.raises(ValueError, match="no"):
                failed.get(timeout=PATIENCE)
    assert types(ear.events, done.id) == ["task-received", "task-started", "task-succeeded"]
    assert types(ear.events, failed.id) == ["task-received", "task-started", "task-failed"]
    assert types(ear.events)[0] in ("worker-online", "worker-heartbeat")
    task = ear.state.tasks[done.id]
    assert (task.state, task.name, task.args, task.result) == ("SUCCESS", "echo", "(9,)", "9")
    assert ear.state.tasks[failed.id].exception == "ValueError('no')"
    assert all("local_received" in event for event in ear.events)
    clocks = [event["clock"] for event in ear.events if event["type"].startswith("task")]
    assert clocks == sorted(clocks)


def test_a_task_tells_of_itself_even_without_task_events(app):
    with (
        Ear(app, lambda events: "task-halfway" in types(events)) as ear,
        RemoteDesk(app, "w1@here"),
    ):
        result = app.tasks["halfway"].delay()
        result.get(timeout=PATIENCE)
    (event,) = [each for each in ear.events if each["type"] == "task-halfway"]
    assert (event["uuid"], event["done"]) == (result.id, 50)


def test_task_sent_is_told_when_it_is_set(app):
    app.conf.task_send_sent_event = True
    with Ear(app, lambda events: types(events).count("task-sent") == 3) as ear:
        first = app.tasks["echo"].apply_async((1,), queue="other")
        app.tasks["echo"].send_many([(2,), (3,)])
    sent = [each for each in ear.events if each["type"] == "task-sent"]
    assert [each["args"] for each in sent] == ["(1,)", "(2,)", "(3,)"]
    assert (sent[0]["uuid"], sent[0]["queue"], sent[0]["name"]) == (first.id, "other", "echo")
    assert sent[0]["hostname"].startswith("gen")


def test_without_the_setting_no_one_is_told_of_sending(app):
    with Ear(app, lambda events: "mine-last" in types(events)) as ear:
        app.tasks["echo"].delay(1)
        with app.events.Dispatcher(hostname="me@here") as dispatcher:
            dispatcher.send("mine-last", word="hello")
    assert types(ear.events) == ["mine-last"]
    assert (ear.events[0]["hostname"], ear.events[0]["word"]) == ("me@here", "hello")


def test_a_dispatcher_that_is_switched_off_is_silent(app):
    with Ear(app, lambda events: "mine-last" in types(events)) as ear:
        dispatcher = app.events.Dispatcher(enabled=False)
        dispatcher.send("mine-first")
        dispatcher.enable()
        dispatcher.send("mine-second")
        dispatcher.disable()
        dispatcher.send("mine-third")
        app.events.default_dispatcher().send("mine-last")
        dispatcher.close()
    assert types(ear.events) == ["mine-second", "mine-last"]


def test_a_capture_ends_by_its_limit_its_time_or_a_word(app):
    dispatcher = app.events.default_dispatcher()
    with app.events.Receiver(handlers={"mine-one": lambda _: None}) as receiver:
        with pytest.raises(TimeoutError, match=r"0\.01 s"):
            receiver.capture(timeout=0.01)
        dispatcher.send("mine-one")
        dispatcher.send("mine-two")
        receiver.capture(limit=2, timeout=PATIENCE)
        receiver.stop()
        receiver.capture(timeout=PATIENCE)


def test_only_what_is_asked_for_is_heard(app):
    with app.events.Receiver(routing_key="worker.#") as receiver:
        receiver.receive(0)
        app.events.default_dispatcher().send("task-mine")
        app.events.default_dispatcher().send("worker-mine")
        heard = []
        while not heard:
            heard = receiver.receive(PATIENCE)
    assert types(heard) == ["worker-mine"]


def test_a_broker_without_a_bus_says_so(app, monkeypatch):
    monkeypatch.setattr(type(app.connections), "bus", None)
    with pytest.raises(NotSupported, match="carries no events"):
        app.events.Receiver()
    with pytest.raises(NotSupported, match="carries no commands"):
        app.control.inspect().active()
    app.events.tell_quietly("mine", {})  # a task does not fail for it
    assert app.control.ping() == []
