"""Sending many: what is sent, in which pieces, and what is refused."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.app_results.scripted_stores import ScriptedBroker
from umbel.app import bulk, signals
from umbel.app.app import App
from umbel.app.publish_policy import NO_RETRY
from umbel.app.publishing import Publishing
from umbel.errors import (
    BrokerUnavailable,
    EncodeError,
    InvalidOption,
    TaskSignatureMismatch,
    UsageError,
)
from umbel.model.message import EncodedMessage, TaskMessage
from umbel.model.queues import Queue
from umbel.ports import Middleware
from umbel.testing.conformance.station import presence
from umbel.wire import envelope
from umbel.wire.serializers import SERIALIZERS
from umbel.wire.task_template import MessageTemplate
from umbel.wire.task_v2 import encode


@pytest.fixture
def app() -> Iterator[App]:
    url = f"memory://{uuid.uuid4().hex}"
    app = App("bulk", broker=url, backend=url)

    @app.task(name="add")
    def add(x: int, y: int = 0) -> int:
        return x + y

    yield app
    app.close()


def sent(app: App, queue: str = "celery") -> list[TaskMessage]:
    """Take everything out of a queue."""
    consumer = app.broker.open_consumer([Queue(name=queue)], presence=presence(), lease=30)
    try:
        found = consumer.receive(10_000, 0)
        return [app.decode(envelope.load(one.raw)) for one in found]
    finally:
        consumer.close()


def test_each_call_is_a_message_of_its_own_in_order(app: App) -> None:
    results = app.tasks["add"].send_many([(1, 2), ((3,), {"y": 4}), {"x": 5}, [6]])
    messages = sent(app)
    assert [(list(one.args), dict(one.kwargs)) for one in messages] == [
        ([1, 2], {}),
        ([3], {"y": 4}),
        ([], {"x": 5}),
        ([6], {}),
    ]
    assert [one.id for one in messages] == [one.id for one in results]
    assert [one.root_id for one in messages] == [one.id for one in results]
    assert len({one.id for one in messages}) == 4
    assert messages[1].argsrepr == "[3]" or messages[1].argsrepr == "(3,)"
    assert messages[1].kwargsrepr == "{'y': 4}"


def test_a_message_of_many_is_like_one_sent_alone(app: App) -> None:
    task = app.tasks["add"]
    task.delay(1, y=2)
    task.send_many([((1,), {"y": 2})])
    consumer = app.broker.open_consumer([Queue(name="celery")], presence=presence(), lease=30)
    alone, of_many = (envelope.load(one.raw) for one in consumer.receive(2, 0))
    consumer.close()

    def general(message: EncodedMessage) -> Any:
        own = message.headers["id"]
        hide: Callable[[Mapping[str, Any]], Any] = lambda fields: {  # noqa: E731
            name: "own" if value == own else value for name, value in fields.items()
        }
        return hide(message.headers), hide(message.properties), message.body

    assert general(alone) == general(of_many)


def test_options_count_for_all(app: App) -> None:
    app.tasks["add"].send_many([(1,), (2,)], queue="fast", priority=3, headers={"who": "me"})
    messages = sent(app, "fast")
    assert [one.priority for one in messages] == [3, 3]
    assert [one.headers["who"] for one in messages] == ["me", "me"]


def test_signatures_keep_options_of_their_own(app: App) -> None:
    add = app.tasks["add"]
    calls = [add.s(1), add.s(2).set(queue="fast"), app.signature("by.name", (3,))]
    results = app.send_many(calls, priority=5)
    here, fast = sent(app), sent(app, "fast")
    assert [one.task for one in here] == ["add", "by.name"]
    assert [one.id for one in (here[0], fast[0], here[1])] == [one.id for one in results]
    assert {one.priority for one in (*here, *fast)} == {5}


def test_a_callback_on_one_call(app: App) -> None:
    add = app.tasks["add"]
    one = add.s(1)
    one.link(add.s(2))
    app.send_many([one, add.s(3)])
    messages = sent(app)
    assert [len(one.callbacks or ()) for one in messages] == [1, 0]


def test_calls_are_taken_and_sent_in_chunks(app: App) -> None:
    broker = ScriptedBroker()
    app.connections._publishing = Publishing(broker)
    taken: list[int] = []

    def calls() -> Iterator[tuple[int]]:
        for number in range(7):
            taken.append(number)
            yield (number,)

    stream = app.tasks["add"].send_stream(calls(), chunk_size=3)
    next(stream)
    assert taken == [0, 1, 2]
    assert len(list(stream)) == 6
    assert [len(batch) for batch in broker.batches] == [3, 3, 1]


def test_nothing_to_send(app: App) -> None:
    assert len(app.tasks["add"].send_many([])) == 0
    assert app.tasks["add"].send_many([]).get(timeout=1) == []


def test_an_error_says_how_many_were_sent_before_it(app: App) -> None:
    broker = ScriptedBroker(None, BrokerUnavailable("gone"))
    app.connections._publishing = Publishing(broker, policy=NO_RETRY)
    with pytest.raises(BrokerUnavailable, match="gone") as caught:
        app.tasks["add"].send_many(((number,) for number in range(9)), chunk_size=4)
    assert caught.value.__notes__ == [
        "4 calls of this send_many() were sent before; send_stream() tells which."
    ]


def test_an_argument_that_cannot_be_written_is_named(app: App) -> None:
    @app.task(name="anything")
    def anything(value: Any) -> None: ...

    with pytest.raises(EncodeError, match="anything cannot be sent: its positional argument 0"):
        anything.send_many([(1,), (object(),)])
    assert sent(app) == []


@pytest.mark.parametrize(
    ("calls", "message"),
    [
        ([1], r"call number 0 is 1, and each must be a tuple .* write \(value,\)"),
        ([(1,), "ab"], r"call number 1 is 'ab'"),
        ([(1, 2, 3)], "add"),
    ],
)
def test_calls_of_the_wrong_form(app: App, calls: Any, message: str) -> None:
    with pytest.raises(TaskSignatureMismatch, match=message):
        app.tasks["add"].send_many(calls)


def test_what_is_no_signature(app: App) -> None:
    with pytest.raises(UsageError, match=r"call number 0 is \(1, 2\), and each must be the sig"):
        app.send_many([(1, 2)])  # type: ignore[list-item]


@pytest.mark.parametrize("wrong", [0, -1, 2.5, True])
def test_a_chunk_size_that_is_none(app: App, wrong: Any) -> None:
    with pytest.raises(InvalidOption, match="chunk_size takes a number of calls"):
        app.tasks["add"].send_many([(1,)], chunk_size=wrong)


def test_one_id_for_many(app: App) -> None:
    with pytest.raises(InvalidOption, match="task_id belongs to one call"):
        app.tasks["add"].send_many([(1,)], task_id="x")


def test_middleware_sees_every_message(app: App) -> None:
    seen: list[str] = []

    class Watch(Middleware):
        def around_send(self, message: TaskMessage, send: Callable[[TaskMessage], None]) -> None:
            seen.append(message.id)
            send(message)

    app.middleware.append(Watch())
    results = app.tasks["add"].send_many([(1,), (2,)])
    assert seen == [one.id for one in results] == [one.id for one in sent(app)]


def test_signals_tell_of_every_message(app: App) -> None:
    heard: list[str] = []

    def before(headers: Any, **_: Any) -> None:
        headers["stamp"] = "seen"

    def after(headers: Any, **_: Any) -> None:
        heard.append(headers["id"])

    signals.before_task_publish.connect(before)
    signals.after_task_publish.connect(after)
    try:
        results = app.tasks["add"].send_many([(1,), (2,)])
    finally:
        signals.before_task_publish.disconnect(before)
        signals.after_task_publish.disconnect(after)
    assert heard == [one.id for one in results]
    assert [one.headers["stamp"] for one in sent(app)] == ["seen", "seen"]


def test_always_eager_runs_them(app: App) -> None:
    app.conf.task_always_eager = True
    assert app.tasks["add"].send_many([(1, 2), (3, 4)]).get() == [3, 7]
    assert sent(app) == []


def test_without_blocking_the_loop(app: App) -> None:

    async def main() -> None:
        assert len(await bulk.asend_many_of(app.tasks["add"], [(1,), (2,)], chunk_size=1)) == 2
        assert len(await bulk.asend_many(app, [app.tasks["add"].s(3)])) == 1

    asyncio.run(main())
    assert [list(one.args) for one in sent(app)] == [[1], [2], [3]]


integers = st.integers(-(2**60), 2**60)  # what every serializer can write
values = st.one_of(st.none(), integers, st.text(max_size=5), st.lists(integers))


@given(
    st.lists(values, max_size=4),
    st.dictionaries(st.sampled_from("xyz"), values),
    st.sampled_from(["json", "pickle", "msgpack"]),
    st.sampled_from([None, "zlib"]),
    st.sampled_from([None, "root"]),
    st.sampled_from([None, "(secret)"]),
)
def test_a_filled_template_is_what_encoding_gives(
    args: Any, kwargs: Any, name: str, compression: Any, root: Any, shown: Any
) -> None:
    common: dict[str, Any] = {
        "task": "add",
        "root_id": root,
        "argsrepr": shown,
        "priority": 3,
        "callbacks": [{"task": "next"}],
    }
    serializer = SERIALIZERS.get(name)
    pattern = TaskMessage(id="pattern", **common)
    template = MessageTemplate(pattern, serializer=serializer, compression=compression)
    direct = TaskMessage(id="own", args=args, kwargs=kwargs, **common)
    expected = encode(direct, serializer=serializer, compression=compression)
    filled = template.fill("own", args, kwargs)
    assert (filled.headers, filled.properties) == (expected.headers, expected.properties)
    if name == "json" and compression is None:
        json = SERIALIZERS.get("json")
        assert json.loads(filled.body) == json.loads(expected.body)
    else:
        assert filled.body == expected.body
