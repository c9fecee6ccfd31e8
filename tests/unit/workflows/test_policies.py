"""Which ends of a header have the body run: by a worker on every store that counts, and eagerly."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.one_worker import OneWorker
from tests.redis_server import RedisServer
from umbel.app.app import App
from umbel.errors import ChordError, UsageError
from umbel.workflows.canvas import chain, chord, group
from umbel.workflows.policies import all_done, at_least, checked, member_failure
from umbel.workflows.signature import Signature

PATIENCE = 20


class Tasks:
    def __init__(self, app: App) -> None:
        self.app = app
        self.heard: list[str] = []
        self.value = app.task(name="value")(lambda value: value)
        self.ident = app.task(name="ident")(lambda values: values)
        self.boom = app.task(name="boom")(self._boom)
        self.tell = app.task(name="tell")(self._tell)

        @app.task(bind=True, name="adding")
        def adding(task: Any, value: int, added: Any) -> int:
            task.add_to_chord(Signature.from_dict(added, app=app))
            return value

        self.adding = adding

    def n(self, value: Any) -> Any:
        return self.value.si(value)

    def _boom(self, *_: Any) -> None:
        raise ValueError("boom")

    def _tell(self, request: Any, exc: BaseException, traceback: str | None) -> None:
        self.heard.append(f"{type(exc).__name__} of {request.id}")


@pytest.fixture(
    scope="module",
    params=["memory", "sqlite", pytest.param("redis", marks=pytest.mark.redis), "eager"],
)
def tasks(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Tasks]:
    with contextlib.ExitStack() as stack:
        url = f"memory://{uuid.uuid4().hex}"
        if request.param == "sqlite":
            url = f"sqlite:///{Path(tmp_path_factory.mktemp('policies')) / 'umbel.db'}"
        elif request.param == "redis":
            server = RedisServer().start()
            stack.callback(server.close)
            url = server.url()
        eager = request.param == "eager"
        app = stack.enter_context(App("policies", broker=url, backend=url, task_always_eager=eager))
        made = Tasks(app)
        if not eager:
            stack.enter_context(OneWorker(app, "celery"))
        yield made


def outcome(workflow: Any) -> Any:
    return workflow.apply_async().get(timeout=PATIENCE)


def told(values: list[Any]) -> list[Any]:
    """The values, with how a member failed where one did."""
    found = [(one, member_failure(one)) for one in values]
    return [
        one if failure is None else (failure.state, repr(failure.error)) for one, failure in found
    ]


FAILED = ("FAILURE", "ValueError('boom')")


def test_all_done_tells_the_body_of_failures(tasks: Tasks) -> None:
    members = [tasks.n(1), tasks.boom.si(), tasks.n(3)]
    assert told(outcome(chord(members, tasks.ident.s(), policy="all_done"))) == [1, FAILED, 3]


def test_all_done_where_every_member_fails(tasks: Tasks) -> None:
    members = [tasks.boom.si(), tasks.boom.si()]
    assert told(outcome(chord(members, tasks.ident.s(), policy=all_done))) == [FAILED, FAILED]


def test_at_least_so_many_values(tasks: Tasks) -> None:
    members = [tasks.boom.si(), tasks.n(2), tasks.boom.si(), tasks.n(4)]
    assert outcome(chord(members, tasks.ident.s(), policy=at_least(2))) == [2, 4]


def test_at_least_does_not_wait_for_the_rest(tasks: Tasks) -> None:
    """Members that never begin, in a queue without a worker, do not hold the body back."""
    if tasks.app.settings.task_always_eager:
        pytest.skip("everything runs at once")
    never = tasks.n(9).set(queue="nobody-is-there")
    members = [tasks.n(1), never, tasks.n(3), never.clone()]
    assert outcome(chord(members, tasks.ident.s(), policy="at_least(2)")) == [1, 3]


def test_at_least_fails_as_soon_as_it_cannot_be(tasks: Tasks) -> None:
    if tasks.app.settings.task_always_eager:
        members = [tasks.boom.si(), tasks.boom.si(), tasks.n(3)]
    else:
        members = [tasks.boom.si(), tasks.boom.si(), tasks.n(3).set(queue="nobody-is-there")]
    with pytest.raises(ChordError, match=r"fewer than 2 members .* raised ValueError.'boom'"):
        outcome(chord(members, tasks.ident.s(), policy=at_least(2)))


def test_the_error_callback_is_called_once(tasks: Tasks) -> None:
    tasks.heard.clear()
    members = [tasks.boom.si(), tasks.boom.si(), tasks.boom.si()]
    body = tasks.ident.s().on_error(tasks.tell.s())
    result = chord(members, body, policy=at_least(2)).apply_async()
    with pytest.raises(ChordError):
        result.get(timeout=PATIENCE, follow_parents=False)
    tasks.value.delay(0).get(timeout=PATIENCE)
    assert tasks.heard == [f"ChordError of {result.id}"]


def test_a_policy_goes_through_a_chain_and_a_journey(tasks: Tasks) -> None:
    inner = chord([tasks.n(1), tasks.boom.si()], tasks.ident.s(), policy="at_least(1)")
    whole = chain(tasks.n(0), inner | tasks.ident.s())
    travelled = Signature.from_dict(json.loads(json.dumps(whole)), app=tasks.app)
    assert outcome(travelled) == [1]
    outer = chord([inner, tasks.boom.si()], tasks.ident.s(), policy=all_done)
    assert told(outcome(outer)) == [[1], FAILED]


def test_the_policy_of_a_chord_is_not_that_of_its_body(tasks: Tasks) -> None:
    body = chord([tasks.ident.s(), tasks.ident.s()], tasks.ident.s())
    members = [tasks.n(1), tasks.boom.si()]
    assert outcome(chord(members, body, policy="at_least(1)")) == [[1], [1]]
    body = chord([tasks.ident.s(), tasks.boom.s()], tasks.ident.s(), policy=all_done)
    assert told(outcome(chord([tasks.n(1)], body))) == [[1], FAILED]


def test_a_member_that_was_added_may_make_up_for_one(tasks: Tasks) -> None:
    members = [tasks.adding.si(1, dict(tasks.n(5))), tasks.boom.si()]
    assert outcome(chord(members, tasks.ident.s(), policy=at_least(2))) == [1, 5]


@pytest.mark.parametrize("policy", ["any", "at_least(0)", "at_least(two)", 3, "at_least(-1)"])
def test_what_is_no_policy_is_refused(tasks: Tasks, policy: Any) -> None:
    with pytest.raises(UsageError, match="a chord has the policy 'all_success', 'all_done' or"):
        chord([tasks.n(1)], tasks.ident.s(), policy=policy)


def test_at_least_takes_a_number() -> None:
    assert at_least(3) == checked("at_least( 3 )") == "at_least(3)"
    with pytest.raises(UsageError, match="from 1 on, and got \"at_least\\('2'\\)\""):
        at_least("2")  # type: ignore[arg-type]


def test_a_header_that_is_too_small_is_refused_before_anything_is_sent(tasks: Tasks) -> None:
    sent = chain(tasks.n(1), chord([tasks.n(1)], tasks.ident.s(), policy=at_least(2)))
    with pytest.raises(UsageError, match=r"wants 2 members .* and the header has 1"):
        sent.apply_async()


def test_a_group_has_no_policy(tasks: Tasks) -> None:
    with pytest.raises(UsageError, match="give it to the chord"):
        group(tasks.n(1)).set(policy=all_done).apply_async()
